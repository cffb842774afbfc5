-- Git providers. A table whose CHECKs change is made anew and takes the old one's name; foreign keys are looked at once
-- all of it is done (`database.migrate`).

-- An organization's credential at a provider.
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

-- What a server administrator registered at a provider.
CREATE TABLE oauth_client (
    provider   TEXT NOT NULL CHECK (provider IN ('github', 'gitlab', 'bitbucket', 'gitea')),
    base       TEXT NOT NULL,
    client     TEXT NOT NULL,
    sealed     BLOB NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (provider, base)
) STRICT, WITHOUT ROWID;

-- Somebody was sent to a provider to agree; only the SHA-256 of what comes back, and of the code that they read to the
-- terminal, is kept. It ends with its token.
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

CREATE TABLE repository_new (
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
INSERT INTO repository_new SELECT *, NULL, NULL, NULL, NULL FROM repository;
DROP TABLE repository;
ALTER TABLE repository_new RENAME TO repository;
CREATE INDEX repository_connection ON repository (connection);

-- How a repository elsewhere is reached that has no connection: a login for https, or a key for ssh with the host keys
-- that a person has confirmed.
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

-- The hook that we made at the provider. "unproven": nothing came from it yet.
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

-- What came with a delivery, secrets left out; NULL where it came otherwise.
ALTER TABLE delivery ADD COLUMN headers TEXT;
DROP INDEX delivery_received;
CREATE INDEX delivery_received ON delivery (repository, received_at) WHERE state = 'received';

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

-- A message is of a deployment or of a pull request. Of one subject only the newest is worth telling.
CREATE TABLE outbox_new (
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
INSERT INTO outbox_new
    SELECT id, 'notice', repository, deployment, NULL, 'notice:' || deployment, body, fate, attempts, due_at, error, created_at
    FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_new RENAME TO outbox;
CREATE INDEX outbox_waiting ON outbox (due_at) WHERE fate = 'waiting';
CREATE INDEX outbox_subject ON outbox (subject) WHERE fate = 'waiting';
CREATE INDEX outbox_deployment ON outbox (deployment);
CREATE INDEX outbox_pull_request ON outbox (pull_request);

-- What concerns a project and none of its environments.
ALTER TABLE event ADD COLUMN project TEXT;
CREATE INDEX event_project ON event (project, id) WHERE project IS NOT NULL;
