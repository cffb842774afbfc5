"""The whole life of an installation on one machine: installed, upgraded under load, stopped for a minute, backed up,
taken away without a trace, and restored."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.install.fresh import CHECKOUT, MACHINE, fresh_machine, run

RATE = 200  # requests per second

# Runs on the machine, with its own Python, beside a copy of `load.py`: asks the page until /tmp/enough is there.
ASKING = f"""
import json, pathlib, time
from load import KEEP_ALIVE, Load
enough = pathlib.Path("/tmp/enough")
with Load(80, "web-demo.localhost", rate={RATE}, mix=(KEEP_ALIVE,)) as load:
    while not enough.exists():
        time.sleep(0.05)
tally = load.tally
print(json.dumps([tally.sent.total(), tally.rate, tally.slowest, [str(failure) for failure in tally.failures]]))
"""

STORY = """
set -euo pipefail
cd /root/kept/godploy
say() { echo "== $*"; }
load_begin() { rm -f /tmp/enough; python3 /root/kept/asking.py >/tmp/tally 2>&1 & asking=$!; sleep 2; }
load_end() { touch /tmp/enough; wait "$asking" || true; cat /tmp/tally; }
page() { curl -fsS --max-time 10 --resolve web-demo.localhost:80:127.0.0.1 http://web-demo.localhost/; }
publish() {
  echo "version $1" >www/index.html
  git -c user.name=Ada -c user.email=ada@example.com commit -qam "Version $1"
  git push godploy main
}

# A machine that had the packages, with an engine that is none of ours.
source install/lib/common.sh
source install/lib/engine.sh
source install/lib/images.sh
ensure_packages git curl ca-certificates nftables openssh-client python3 python3-venv busybox-static
engine_install
engine_start /var/lib/other-engine /var/lib/docker
git config --global init.defaultBranch main
docker network create somebody-elses >/dev/null
tests/install/look >/tmp/before

say install
install/install.sh --demo
cd /root/godploy-demo
publish one
page

say upgrade
first=$(readlink /opt/godploy/current)
load_begin
/root/kept/godploy/install/install.sh
load_end
[ "$first" != "$(readlink /opt/godploy/current)" ]

say stopped
load_begin
kill "$(cat /opt/godploy/respawn.pid)"
sleep 60
curl -fsS --max-time 5 http://127.0.0.1:8400/healthz && exit 1
load_end
/opt/godploy/boot.sh
publish two
page

say backup
echo a-passphrase-for-the-test >/root/kept/passphrase
godploy backup /root/kept/state --data /var/lib/godploy --passphrase-file /root/kept/passphrase
cp -a /root/godploy-demo /root/kept/demo

say uninstall
cd /root/kept
/opt/godploy/uninstall.sh --purge=localhost

say compare
godploy/tests/install/look >/tmp/after
diff /tmp/before /tmp/after
echo "nothing is left"

say restore
/root/kept/godploy/install/install.sh
kill "$(cat /opt/godploy/respawn.pid)"
while [ -e /opt/godploy/respawn.pid ]; do sleep 0.1; done
mv /var/lib/godploy /root/kept/unused
install -d -m 0700 -o godploy -g godploy /var/lib/godploy
godploy restore /root/kept/state --data /var/lib/godploy --passphrase-file /root/kept/passphrase
/opt/godploy/boot.sh
fingerprint=$(python3 -c '
import hashlib, ssl
print(hashlib.sha256(ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", 443)))).hexdigest())')
godploy user token --data /var/lib/godploy --email owner@localhost --name restored |
  godploy login https://localhost --token-stdin --fingerprint "$fingerprint"
ensure_images busybox:stable # no registry answers here
cd /root/kept/demo
publish three
page
find /var/lib/godploy ! -user godploy | grep . && exit 1
echo "restored"
"""


@pytest.fixture
def machine() -> Iterator[Path]:
    with fresh_machine("root/kept/godploy") as directory:
        kept = directory / "root/root/kept"
        shutil.copy2(CHECKOUT / "tests/e2e/load.py", kept / "load.py")
        (kept / "asking.py").write_text(ASKING)
        yield directory


def check_unharmed(part: str, seconds: float) -> None:
    """No request failed, and there were as many as there should be."""
    found = re.search(r"^\[\d.*\]$", part, flags=re.MULTILINE)
    assert found, part
    sent, rate, slowest, failures = json.loads(found[0])
    print(f"{sent} requests, {rate:.0f} per second, the slowest {slowest:.3f} s, failed: {len(failures)}")
    assert failures == []
    assert sent > RATE * seconds * 0.9 and rate > RATE * 0.9


@pytest.mark.long
def test_the_life_of_an_installation(machine: Path) -> None:
    done = run([MACHINE, "run", machine, "bash", "-c", STORY])
    assert done.returncode == 0, done.stdout
    parts = dict(re.findall(r"^== (\w+)\n(.*?)(?=^== |\Z)", done.stdout, flags=re.MULTILINE | re.DOTALL))
    assert "version one" in parts["install"]
    assert "starting the new version, on trial" in parts["upgrade"]
    check_unharmed(parts["upgrade"], 5)
    check_unharmed(parts["stopped"], 60)
    assert "version two" in parts["stopped"], "what waited is deployed"
    assert "read again and found whole" in parts["backup"]
    assert "nothing is left" in parts["compare"]
    assert "version three" in parts["restore"]
    assert parts["restore"].rstrip().endswith("restored")
