CREATE TABLE address (
    environment TEXT NOT NULL REFERENCES environment (id),
    address     TEXT NOT NULL,
    owner       TEXT NOT NULL,
    position    INTEGER NOT NULL,
    PRIMARY KEY (environment, address),
    UNIQUE (owner, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE branch (
    repository TEXT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    considered TEXT NOT NULL,
    at         REAL NOT NULL,
    PRIMARY KEY (repository, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE connection (
    id           TEXT PRIMARY KEY,
    organization TEXT NOT NULL REFERENCES organization (id),
    name         TEXT NOT NULL,
    provider     TEXT NOT NULL CHECK (provider IN ('github', 'gitlab', 'bitbucket', 'gitea')),
    base         TEXT NOT NULL, -- the provider's web address, without a trailing slash
    kind         TEXT NOT NULL CHECK (kind IN ('token', 'oauth', 'app')),
    account_id   TEXT NOT NULL,
    account_name TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('usable', 'refused', 'uninstalled')),
    trouble      TEXT,
    sealed       BLOB NOT NULL,
    expires_at   REAL,
    checked_at   REAL NOT NULL,
    made_by      TEXT NOT NULL,
    created_at   REAL NOT NULL,
    UNIQUE (organization, name)
) STRICT;

CREATE TABLE consent (
    id           TEXT PRIMARY KEY,
    organization TEXT NOT NULL REFERENCES organization (id),
    token        TEXT NOT NULL REFERENCES token (id) ON DELETE CASCADE,
    provider     TEXT NOT NULL,
    base         TEXT NOT NULL,
    kind         TEXT NOT NULL CHECK (kind IN ('oauth', 'app')),
    name         TEXT,          -- what the connection is to be called
    renews       TEXT REFERENCES connection (id) ON DELETE CASCADE,
    owner        TEXT,          -- the organization there that is to own the GitHub App
    state_hash   BLOB NOT NULL UNIQUE,
    verifier     BLOB NOT NULL, -- sealed
    stage        TEXT NOT NULL CHECK (stage IN ('waiting', 'answering', 'answered', 'failed', 'confirmed')),
    account_id   TEXT,
    account_name TEXT,
    sealed       BLOB,
    code_hash    BLOB,
    guesses      INTEGER NOT NULL DEFAULT 0,
    trouble      TEXT,
    created_at   REAL NOT NULL,
    expires_at   REAL NOT NULL
) STRICT;

CREATE TABLE delivery (
    id          TEXT PRIMARY KEY,
    repository  TEXT NOT NULL REFERENCES repository (id),
    key         TEXT NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('hook', 'push', 'poll', 'manual')),
    state       TEXT NOT NULL CHECK (state IN ('received', 'decided')),
    verdict     TEXT,
    body        TEXT NOT NULL,
    received_at REAL NOT NULL,
    decided_at  REAL, headers TEXT,
    UNIQUE (repository, key),
    CHECK ((state = 'decided') = (verdict IS NOT NULL))
) STRICT;

CREATE TABLE deployment (
    id           TEXT PRIMARY KEY,
    project      TEXT NOT NULL REFERENCES project (id),
    number       INTEGER NOT NULL,
    stack        TEXT NOT NULL REFERENCES stack (id),
    kind         TEXT NOT NULL CHECK (kind IN ('push', 'manual', 'poll', 'rollback', 'restart', 'config')),
    state        TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'superseded')),
    stage        TEXT CHECK (stage IN ('fetch', 'plan', 'build', 'start', 'switch')),
    commit_id    TEXT,
    revision     INTEGER,
    branch       TEXT,
    message      TEXT NOT NULL DEFAULT '',
    actor        TEXT NOT NULL,
    delivery     TEXT REFERENCES delivery (id),
    from_release TEXT REFERENCES release (id) ON DELETE SET NULL,
    attempt      INTEGER NOT NULL DEFAULT 1,
    options      TEXT NOT NULL DEFAULT '{}',
    ending       TEXT,
    created_at   REAL NOT NULL,
    started_at   REAL,
    finished_at  REAL,
    stage_times  TEXT NOT NULL DEFAULT '{}',
    error        TEXT,
    result       TEXT,
    UNIQUE (project, number),
    CHECK ((state IN ('queued', 'running')) = (finished_at IS NULL))
) STRICT;

CREATE TABLE environment (
    id         TEXT PRIMARY KEY,
    project    TEXT NOT NULL REFERENCES project (id),
    name       TEXT NOT NULL,
    subnet     TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL,
    UNIQUE (project, name)
) STRICT;

CREATE TABLE event (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at          REAL NOT NULL,
    environment TEXT,
    stack       TEXT,
    service     TEXT,
    deployment  TEXT,
    kind        TEXT NOT NULL,
    message     TEXT NOT NULL,
    fields      TEXT NOT NULL DEFAULT '{}'
, project TEXT) STRICT;

CREATE TABLE hook_secret (
    repository TEXT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    sealed     BLOB NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL
) STRICT;

CREATE TABLE host (
    host       TEXT PRIMARY KEY,
    project    TEXT NOT NULL REFERENCES project (id),
    given      INTEGER NOT NULL CHECK (given IN (0, 1)),
    generated  INTEGER NOT NULL CHECK (generated IN (0, 1)),
    claimed_by TEXT REFERENCES deployment (id), -- until a release has been committed with it
    created_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE hosted_hook (
    repository TEXT PRIMARY KEY REFERENCES repository (id) ON DELETE CASCADE,
    hook       TEXT NOT NULL, -- the provider's id of it
    url        TEXT NOT NULL,
    scheme     TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('unproven', 'working', 'silent', 'refused')),
    trouble    TEXT,
    made_at    REAL NOT NULL,
    heard_at   REAL
) STRICT, WITHOUT ROWID;

CREATE TABLE image (
    environment TEXT NOT NULL REFERENCES environment (id),
    key         TEXT NOT NULL,
    id          TEXT NOT NULL,
    ports       TEXT NOT NULL DEFAULT '[]',
    used_at     REAL NOT NULL,
    PRIMARY KEY (environment, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE manifest_revision (
    id         TEXT PRIMARY KEY,
    project    TEXT NOT NULL REFERENCES project (id),
    repository TEXT REFERENCES repository (id) ON DELETE CASCADE,
    revision   INTEGER NOT NULL,
    text       TEXT NOT NULL,
    author     TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;

CREATE TABLE membership (
    organization TEXT NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
    user         TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    role         TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'viewer')),
    PRIMARY KEY (organization, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE oauth_client (
    provider   TEXT NOT NULL CHECK (provider IN ('github', 'gitlab', 'bitbucket', 'gitea')),
    base       TEXT NOT NULL,
    client     TEXT NOT NULL,
    sealed     BLOB NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (provider, base)
) STRICT, WITHOUT ROWID;

CREATE TABLE organization (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL
) STRICT;

CREATE TABLE "outbox" (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         TEXT NOT NULL CHECK (kind IN ('notice', 'status')), -- for the status address; for the commit
    repository   TEXT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    deployment   TEXT REFERENCES deployment (id) ON DELETE CASCADE,
    pull_request TEXT REFERENCES pull_request (id) ON DELETE CASCADE,
    subject      TEXT NOT NULL,
    body         TEXT NOT NULL,
    fate         TEXT NOT NULL DEFAULT 'waiting' CHECK (fate IN ('waiting', 'sent', 'overtaken', 'given up')),
    attempts     INTEGER NOT NULL DEFAULT 0,
    due_at       REAL NOT NULL,
    error        TEXT,
    created_at   REAL NOT NULL,
    CHECK ((deployment IS NULL) != (pull_request IS NULL))
) STRICT;

CREATE TABLE project (
    id           TEXT PRIMARY KEY,
    organization TEXT NOT NULL REFERENCES organization (id),
    name         TEXT NOT NULL,
    created_at   REAL NOT NULL,
    UNIQUE (organization, name)
) STRICT;

CREATE TABLE pull_request (
    id         TEXT PRIMARY KEY,
    repository TEXT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    number     INTEGER NOT NULL,
    title      TEXT NOT NULL,
    branch     TEXT NOT NULL,
    base       TEXT NOT NULL,
    url        TEXT NOT NULL,
    author     TEXT NOT NULL,
    fork       INTEGER NOT NULL CHECK (fork IN (0, 1)),
    source_url TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('open', 'closed')),
    commit_id  TEXT,           -- the head that was planned
    outcome    TEXT,           -- JSON: what its plan says
    planned_at REAL,
    updated_at REAL NOT NULL,
    UNIQUE (repository, number)
) STRICT;

CREATE TABLE release (
    id               TEXT PRIMARY KEY,
    number           INTEGER NOT NULL,
    stack            TEXT NOT NULL REFERENCES stack (id),
    deployment       TEXT NOT NULL REFERENCES deployment (id),
    kind             TEXT NOT NULL,
    commit_id        TEXT,
    revision         INTEGER,
    manifest         TEXT NOT NULL,
    routes           TEXT NOT NULL,
    reference_values TEXT NOT NULL,
    secrets_changed  TEXT NOT NULL DEFAULT '{}',
    created_at       REAL NOT NULL,
    UNIQUE (stack, number)
) STRICT;

CREATE TABLE release_service (
    release    TEXT NOT NULL REFERENCES release (id) ON DELETE CASCADE,
    service    TEXT NOT NULL,
    workload   TEXT NOT NULL REFERENCES workload (id),
    replicas   INTEGER NOT NULL,
    definition TEXT NOT NULL,
    PRIMARY KEY (release, service)
) STRICT, WITHOUT ROWID;

CREATE TABLE "repository" (
    id             TEXT PRIMARY KEY,
    project        TEXT NOT NULL REFERENCES project (id),
    name           TEXT NOT NULL,
    provider       TEXT NOT NULL CHECK (provider IN ('godploy', 'generic', 'github', 'gitlab', 'bitbucket', 'gitea')),
    url            TEXT,
    manifest_path  TEXT NOT NULL,
    default_branch TEXT,
    hook_id        TEXT NOT NULL UNIQUE,
    mapping        TEXT NOT NULL DEFAULT '{}', -- environment → {"branch", "tag"}, as last seen on the default branch
    status_url     TEXT,                       -- where the state of its deployments is told
    created_at     REAL NOT NULL,
    connection     TEXT REFERENCES connection (id), -- NULL also where that was removed: it is then polled without
    remote_id      TEXT,                       -- the provider's own id, which survives a rename
    full_name      TEXT,                       -- "owner/name", as last seen
    web_url        TEXT,
    UNIQUE (project, name),
    CHECK ((provider = 'godploy') = (url IS NULL)),
    CHECK ((provider IN ('godploy', 'generic')) = (remote_id IS NULL)),
    CHECK (connection IS NULL OR remote_id IS NOT NULL)
) STRICT;

CREATE TABLE repository_access (
    repository TEXT PRIMARY KEY REFERENCES repository (id) ON DELETE CASCADE,
    username   TEXT,
    password   BLOB, -- sealed
    key        BLOB, -- sealed; OpenSSH's private form
    public_key TEXT,
    host_keys  TEXT NOT NULL DEFAULT '[]', -- JSON: "TYPE BASE64"
    CHECK ((username IS NULL) = (password IS NULL)),
    CHECK ((key IS NULL) = (public_key IS NULL)),
    CHECK (username IS NULL OR key IS NULL)
) STRICT, WITHOUT ROWID;

CREATE TABLE run (
    id          TEXT PRIMARY KEY,
    stack       TEXT NOT NULL REFERENCES stack (id),
    release     TEXT REFERENCES release (id) ON DELETE SET NULL,
    service     TEXT NOT NULL,
    argv        TEXT NOT NULL,
    actor       TEXT NOT NULL,
    exit_code   INTEGER,
    created_at  REAL NOT NULL,
    finished_at REAL
) STRICT;

CREATE TABLE secret (
    environment TEXT NOT NULL REFERENCES environment (id),
    name        TEXT NOT NULL,
    version     INTEGER NOT NULL, -- the current one
    changed_at  REAL NOT NULL,
    PRIMARY KEY (environment, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE secret_version (
    environment TEXT NOT NULL REFERENCES environment (id),
    name        TEXT NOT NULL,
    version     INTEGER NOT NULL,
    sealed      BLOB NOT NULL,
    created_at  REAL NOT NULL,
    PRIMARY KEY (environment, name, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE service (
    environment TEXT NOT NULL REFERENCES environment (id),
    name        TEXT NOT NULL,
    stack       TEXT NOT NULL REFERENCES stack (id),
    stopped     INTEGER NOT NULL DEFAULT 0 CHECK (stopped IN (0, 1)),
    PRIMARY KEY (environment, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE stack (
    id              TEXT PRIMARY KEY,
    environment     TEXT NOT NULL REFERENCES environment (id),
    repository      TEXT REFERENCES repository (id),
    current_release TEXT REFERENCES release (id),
    held            INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1)),
    detached        INTEGER NOT NULL DEFAULT 0 CHECK (detached IN (0, 1)),
    created_at      REAL NOT NULL
) STRICT;

CREATE TABLE token (
    id           TEXT PRIMARY KEY,
    user         TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    hash         BLOB NOT NULL UNIQUE,
    created_at   REAL NOT NULL,
    expires_at   REAL,
    last_used_at REAL
) STRICT;

CREATE TABLE user (
    id            TEXT PRIMARY KEY,
    email         TEXT NOT NULL UNIQUE COLLATE NOCASE,
    administrator INTEGER NOT NULL CHECK (administrator IN (0, 1)),
    created_at    REAL NOT NULL
) STRICT;

CREATE TABLE volume (
    id          TEXT PRIMARY KEY,
    environment TEXT NOT NULL REFERENCES environment (id),
    name        TEXT NOT NULL,
    stack       TEXT REFERENCES stack (id),
    service     TEXT,
    made_by     TEXT REFERENCES deployment (id),
    created_at  REAL NOT NULL,
    UNIQUE (environment, name)
) STRICT;

CREATE TABLE volume_secret (
    volume  TEXT NOT NULL REFERENCES volume (id) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    version INTEGER NOT NULL,
    sealed  BLOB NOT NULL,
    PRIMARY KEY (volume, name, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE workload (
    id            TEXT PRIMARY KEY,
    environment   TEXT NOT NULL REFERENCES environment (id),
    stack         TEXT NOT NULL REFERENCES stack (id),
    service       TEXT NOT NULL,
    specification TEXT NOT NULL,
    hash          TEXT NOT NULL,
    generation    INTEGER NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('new', 'live', 'draining', 'gone')),
    commit_id     TEXT,
    made_by       TEXT NOT NULL REFERENCES deployment (id),
    replicas      INTEGER NOT NULL CHECK (replicas >= 1),
    drain_until   REAL,
    stopped_by    TEXT REFERENCES deployment (id),
    created_at    REAL NOT NULL,
    CHECK (state != 'draining' OR drain_until IS NOT NULL)
) STRICT;

CREATE INDEX delivery_received ON delivery (repository, received_at) WHERE state = 'received';

CREATE INDEX delivery_recent ON delivery (repository, received_at);

CREATE INDEX deployment_delivery ON deployment (delivery);

CREATE INDEX deployment_queue ON deployment (created_at) WHERE state = 'queued';

CREATE UNIQUE INDEX deployment_queued_push ON deployment (stack) WHERE state = 'queued' AND kind IN ('push', 'poll');

CREATE UNIQUE INDEX deployment_running ON deployment (stack) WHERE state = 'running';

CREATE INDEX deployment_stack ON deployment (stack, created_at);

CREATE INDEX event_deployment ON event (deployment, id);

CREATE INDEX event_project ON event (project, id) WHERE project IS NOT NULL;

CREATE INDEX event_stack ON event (stack, id);

CREATE INDEX hook_secret_repository ON hook_secret (repository);

CREATE UNIQUE INDEX manifest_revision_number ON manifest_revision (project, ifnull(repository, ''), revision);

CREATE INDEX outbox_deployment ON outbox (deployment);

CREATE INDEX outbox_pull_request ON outbox (pull_request);

CREATE INDEX outbox_subject ON outbox (subject) WHERE fate = 'waiting';

CREATE INDEX outbox_waiting ON outbox (due_at) WHERE fate = 'waiting';

CREATE INDEX release_deployment ON release (deployment);

CREATE INDEX release_service_workload ON release_service (workload);

CREATE INDEX repository_connection ON repository (connection);

CREATE INDEX service_stack ON service (stack);

CREATE UNIQUE INDEX stack_source ON stack (environment, ifnull(repository, ''));

CREATE INDEX workload_made_by ON workload (made_by);

CREATE INDEX workload_present ON workload (state) WHERE state != 'gone';

CREATE INDEX workload_stack ON workload (stack);

