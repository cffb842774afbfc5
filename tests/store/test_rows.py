"""What each kind of row promises: addresses that stay, tokens of which only a hash is kept, states that end once."""

from __future__ import annotations

import ipaddress
import sqlite3
import time
from typing import Any

import pytest

from godploy.core.model import Feed, Kind, Stage, State
from godploy.errors import Conflict, NotFound
from godploy.store import (
    Store,
    addresses,
    deliveries,
    deployments,
    people,
    projects,
    releases,
    repositories,
    secrets,
    stacks,
    volumes,
)
from godploy.store.addresses import AddressBook
from tests.store.conftest import POOL, Rows, queue

# Addresses


async def test_addresses_stay_with_their_owner_until_they_are_released(store: Store, rows: Rows) -> None:
    book, place = AddressBook(store), rows.environment.id
    first = await book.allocate(place, "one", 2)
    others = await book.allocate(place, "two", 1)
    assert await book.allocate(place, "one", 1) == first[:1]
    more = await book.allocate(place, "one", 3)
    assert more[:2] == first and not set(more) & set(others)
    subnet = ipaddress.ip_network(await store.read(lambda conn: projects.subnet(conn, place)))
    inside = [ipaddress.ip_address(address) for address in more + others]
    assert all(address in subnet for address in inside)
    assert subnet[0] not in inside and subnet[1] not in inside and subnet[-1] not in inside
    await book.release("two")
    assert await book.allocate(place, "three", 1) == others


async def test_a_full_network_says_so(store: Store, rows: Rows) -> None:
    book, place = AddressBook(store), rows.environment.id
    assert len(await book.allocate(place, "all", 61)) == 61  # a /26 without network, gateway and broadcast
    with pytest.raises(Conflict, match="no free address left"):
        await book.allocate(place, "one-more", 1)
    assert await store.read(addresses.owners) == {"all"}


async def test_addresses_of_runs_that_a_crash_ended_are_given_back(store: Store, rows: Rows) -> None:
    await AddressBook(store).allocate(rows.environment.id, "a-run", 1)
    await store.write(addresses.release_unowned)
    assert await store.read(addresses.owners) == set()


async def test_environments_have_networks_of_their_own(store: Store, rows: Rows) -> None:
    def more(conn: Any) -> list[str]:
        avoid = ["10.99.0.64/26", "10.99.0.128/25"]
        made = [projects.ensure_environment(conn, rows.project.id, name, POOL, avoid) for name in ("a", "b")]
        return [projects.subnet(conn, each.id) for each in (rows.environment, *made)]

    assert await store.write(more) == ["10.99.0.0/26", "10.99.1.0/26", "10.99.1.64/26"]
    with pytest.raises(Conflict, match="no free network"):
        await store.write(lambda conn: projects.ensure_environment(conn, rows.project.id, "c", "10.99.0.0/26"))


# People


async def test_only_the_hash_of_a_token_is_kept(store: Store, rows: Rows) -> None:
    owner = await store.read(lambda conn: people.user_by_email(conn, "OWNER@example.com"))
    token = await store.write(lambda conn: people.create_token(conn, owner.id, "laptop"))
    assert token.startswith("gdp_")
    kept = await store.read(lambda conn: [tuple(row) for row in conn.execute("SELECT * FROM token")])
    assert token not in repr(kept)
    found = await store.read(lambda conn: people.user_by_token(conn, token))
    assert found is not None and found[0] == owner and found[2] is None
    assert await store.read(lambda conn: people.user_by_token(conn, token + "x")) is None
    await store.write(lambda conn: people.delete_token(conn, owner.id, found[1]))
    assert await store.read(lambda conn: people.user_by_token(conn, token)) is None


async def test_a_token_ends(store: Store, rows: Rows) -> None:
    owner = await store.read(lambda conn: people.user_by_email(conn, "owner@example.com"))
    now = time.time()
    over = await store.write(lambda conn: people.create_token(conn, owner.id, "over", now - 1))
    valid = await store.write(lambda conn: people.create_token(conn, owner.id, "valid", now + 60))
    assert await store.read(lambda conn: people.user_by_token(conn, over)) is None
    assert await store.read(lambda conn: people.user_by_token(conn, valid)) is not None


async def test_there_is_one_first_owner(store: Store, rows: Rows) -> None:
    with pytest.raises(Conflict, match="has an owner already"):
        await store.write(lambda conn: people.create_owner(conn, "another@example.com"))


# Deployments


async def test_a_final_state_is_final(store: Store, rows: Rows) -> None:
    made = await store.write(lambda conn: queue(conn, rows.stack))
    await store.write(deployments.claim)
    await store.write(lambda conn: deployments.finish(conn, made.id, State.FAILED, error={"message": "why"}))
    for state in State:
        with pytest.raises(Conflict):
            await store.write(lambda conn, state=state: deployments.finish(conn, made.id, state))  # type: ignore[misc]
    assert not await store.write(lambda conn: deployments.enter(conn, made.id, Stage.START))


async def test_numbers_count_by_project_and_the_oldest_is_claimed(store: Store, rows: Rows) -> None:
    other = await store.write(
        lambda conn: stacks.ensure(conn, projects.ensure_environment(conn, rows.project.id, "b", POOL).id, None)
    )
    made = [await store.write(lambda conn, at=at: queue(conn, at)) for at in (rows.stack, rows.stack, other)]  # type: ignore[misc]
    assert [each.number for each in made] == [1, 2, 3]
    claimed = [await store.write(deployments.claim) for _ in range(3)]
    assert [found.number if found else None for found in claimed] == [1, 3, None]


async def test_a_push_takes_the_place_of_one_that_waits(store: Store, rows: Rows) -> None:
    old = await store.write(lambda conn: queue(conn, rows.stack, Kind.PUSH))
    new = await store.write(lambda conn: queue(conn, rows.stack, Kind.POLL))
    assert (await store.read(lambda conn: deployments.get(conn, old.id))).state is State.SUPERSEDED
    await store.write(deployments.claim)
    await store.write(lambda conn: deployments.requeue(conn, new.id))
    again = await store.read(lambda conn: deployments.get(conn, new.id))
    assert (again.state, again.attempt, again.stage) == (State.QUEUED, 2, None)


async def test_one_running_deployment_is_a_law_of_the_schema(store: Store, rows: Rows) -> None:
    for _ in range(2):
        await store.write(lambda conn: queue(conn, rows.stack))
    with pytest.raises(sqlite3.IntegrityError):
        await store.write(lambda conn: conn.execute("UPDATE deployment SET state = 'running'"))


async def test_a_deployment_leaves_one_release_however_often_it_was_attempted(store: Store, rows: Rows) -> None:
    def story(conn: Any) -> tuple[str, list[str]]:
        made = queue(conn, rows.stack)
        deployments.claim(conn)
        for _ in range(2):
            release = releases.draft(conn, made, manifest="", routes=[], references={}, services=[])
        deployments.finish(conn, made.id, State.SUCCEEDED)
        return release.id, [each.id for each in releases.of_stack(conn, rows.stack.id)]

    last, committed = await store.write(story)
    assert committed == [last]


# Deliveries


async def test_a_delivery_is_decided_once(store: Store, rows: Rows) -> None:
    place = rows.repository.id
    first, new = await store.write(lambda conn: deliveries.receive(conn, place, "hook", "key", {"a": 1}))
    again, newer = await store.write(lambda conn: deliveries.receive(conn, place, "push", "key", {"b": 2}))
    assert (new, newer) == (True, False) and again == first
    assert await store.write(lambda conn: deliveries.decide(conn, first.id, "yes"))
    assert not await store.write(lambda conn: deliveries.decide(conn, first.id, "no"))
    assert (await store.read(lambda conn: deliveries.get(conn, first.id))).verdict == "yes"
    assert await store.read(lambda conn: deliveries.next_of_each(conn, ())) == []


async def test_old_deliveries_go_except_what_a_deployment_names(store: Store, rows: Rows) -> None:
    def fill(conn: Any) -> None:
        for key in ("named", "old", "undecided"):
            made, _ = deliveries.receive(conn, rows.repository.id, "hook", key, {})
            if key != "undecided":
                deliveries.decide(conn, made.id, "so")
            if key == "named":
                deployments.enqueue(
                    conn, deployments.Request(rows.stack.id, Kind.PUSH, "x", commit="a" * 40, delivery=made.id)
                )

    await store.write(fill)
    assert await store.write(lambda conn: deliveries.forget_older(conn, time.time() + 1)) == 1
    left = await store.read(lambda conn: deliveries.of_project(conn, rows.project.id))
    assert sorted(each.key for each in left) == ["named", "undecided"]


# Projects, hosts, repositories, secrets, volumes


async def test_a_host_belongs_to_who_claimed_it_first(store: Store, rows: Rows) -> None:
    def story(conn: Any) -> list[bool]:
        other = projects.create(conn, rows.project.organization, "other").id
        told = [projects.claim_host(conn, "a.example", rows.project.id), projects.claim_host(conn, "a.example", other)]
        projects.give_host(conn, "a.example", other)
        told += [projects.claim_host(conn, "a.example", rows.project.id)]
        projects.release_host(conn, "a.example", other)
        return [*told, projects.claim_host(conn, "a.example", rows.project.id)]

    assert await store.write(story) == [True, False, False, True]


async def test_a_claim_without_a_release_is_dropped(store: Store, rows: Rows) -> None:
    def story(conn: Any) -> list[str]:
        kept, dropped = queue(conn, rows.stack), queue(conn, rows.stack)
        projects.claim_host(conn, "kept.example", rows.project.id, deployment=kept.id)
        projects.claim_host(conn, "dropped.example", rows.project.id, deployment=dropped.id)
        projects.claim_host(conn, "kept.example", rows.project.id, deployment=dropped.id)
        projects.keep_claims(conn, kept.id)
        projects.drop_claims(conn, dropped.id)
        return [host.host for host in projects.hosts(conn, rows.project.id)]

    assert await store.write(story) == ["kept.example"]


@pytest.mark.parametrize("make", ["project", "repository"])
async def test_names_are_unique(store: Store, rows: Rows, make: str) -> None:
    with pytest.raises(Conflict, match="already"):
        if make == "project":
            await store.write(lambda conn: projects.create(conn, rows.project.organization, "shop"))
        else:
            await store.write(lambda conn: repositories.create(conn, rows.project.id, "shop"))


async def test_hook_secrets_overlap_while_they_are_rotated(store: Store, rows: Rows) -> None:
    place = rows.repository.id
    await store.write(lambda conn: repositories.add_hook_secret(conn, place, b"one"))
    await store.write(lambda conn: repositories.add_hook_secret(conn, place, b"two", 60.0))
    assert await store.read(lambda conn: repositories.hook_secrets(conn, place)) == [b"one", b"two"]
    await store.write(lambda conn: repositories.add_hook_secret(conn, place, b"three", 0.0))
    assert await store.read(lambda conn: repositories.hook_secrets(conn, place)) == [b"one", b"three"]


async def test_the_mapping_comes_back_as_it_was(store: Store, rows: Rows) -> None:
    mapping = {"production": Feed(tag="v*"), "staging": Feed(branch="develop"), "other": Feed()}
    await store.write(lambda conn: repositories.set_mapping(conn, rows.repository.id, mapping))
    assert (await store.read(lambda conn: repositories.get(conn, rows.repository.id))).mapping == mapping


async def test_revisions_count_by_source(store: Store, rows: Rows) -> None:
    def save(conn: Any) -> list[int]:
        place = rows.project.id
        repository = rows.repository.id
        return [
            repositories.save_revision(conn, place, source, text, "anna").revision
            for source, text in ((None, "a"), (None, "b"), (repository, "c"))
        ]

    assert await store.write(save) == [1, 2, 1]
    newest = await store.read(lambda conn: repositories.revision(conn, rows.project.id, None))
    first = await store.read(lambda conn: repositories.revision(conn, rows.project.id, None, 1))
    assert newest is not None and first is not None and (newest.text, first.text) == ("b", "a")


async def test_secret_versions_stay_while_they_are_kept(store: Store, rows: Rows) -> None:
    place = rows.environment.id
    for value in (b"1", b"2", b"3"):
        await store.write(lambda conn, value=value: secrets.put(conn, place, "KEY", value))  # type: ignore[misc]
    await store.write(lambda conn: secrets.forget_versions(conn, place, [("KEY", 1)]))
    assert await store.read(lambda conn: secrets.versions(conn, place)) == {("KEY", 1): b"1", ("KEY", 3): b"3"}
    await store.write(lambda conn: secrets.remove(conn, place, "KEY"))
    assert await store.read(lambda conn: secrets.current(conn, place)) == {}
    assert await store.write(lambda conn: secrets.put(conn, place, "KEY", b"4")) == 4  # no number twice


async def test_a_mounted_volume_is_not_deleted(store: Store, rows: Rows) -> None:
    def make(conn: Any) -> str:
        deployment = queue(conn, rows.stack)
        made = volumes.create(conn, rows.environment.id, "data", deployment.id, {"password": b"sealed"})
        volumes.attach(conn, rows.stack.id, rows.environment.id, {"data": "db"})
        return made.id

    volume = await store.write(make)
    with pytest.raises(Conflict, match="is mounted by db"):
        await store.write(lambda conn: volumes.delete(conn, volume))
    await store.write(lambda conn: volumes.attach(conn, rows.stack.id, rows.environment.id, {}))
    assert await store.read(lambda conn: volumes.secrets(conn, rows.environment.id))
    await store.write(lambda conn: volumes.delete(conn, volume))
    assert await store.read(lambda conn: volumes.secrets(conn, rows.environment.id)) == {}


async def test_a_service_name_is_held_by_one_stack(store: Store, rows: Rows) -> None:
    def story(conn: Any) -> tuple[list[str], list[str], list[str]]:
        other = stacks.ensure(conn, rows.environment.id, None)
        first = stacks.claim_services(conn, rows.stack, ["web", "api"])
        second = stacks.claim_services(conn, other, ["api", "db"])
        stacks.keep_services(conn, rows.stack.id, ["web"])
        return first, second, stacks.claim_services(conn, other, ["api"])

    assert await store.write(story) == ([], ["api"], [])


@pytest.mark.parametrize(
    "ask",
    [
        lambda conn: projects.get(conn, "nothing"),
        lambda conn: projects.environment(conn, "nothing"),
        lambda conn: projects.subnet(conn, "nothing"),
        lambda conn: stacks.get(conn, "nothing"),
        lambda conn: repositories.get(conn, "nothing"),
        lambda conn: deployments.get(conn, "nothing"),
        lambda conn: deliveries.get(conn, "nothing"),
        lambda conn: releases.get(conn, "nothing"),
        lambda conn: releases.workload(conn, "nothing"),
        lambda conn: volumes.get(conn, "nothing"),
    ],
)
async def test_what_is_not_there_is_not_found(store: Store, ask: Any) -> None:
    with pytest.raises(NotFound):
        await store.read(ask)
