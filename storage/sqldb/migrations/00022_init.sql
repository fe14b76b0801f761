-- The schema of the first release, one for PostgreSQL and SQLite. Times are microseconds since 1970 in UTC. What
-- is signed or hashed lies in TEXT (UTF-8, as it was signed) or BYTEA, never in a JSON type.
-- servers: stopped

-- +goose Up

-- Which instance this database belongs to. One row.
CREATE TABLE instance (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    id         TEXT NOT NULL,
    chain      TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- The log's row. Whoever gives out indexes or event numbers holds its lock, so both are
-- gapless and in commit order. received >= size >= anchored.
CREATE TABLE log (
    one            INTEGER PRIMARY KEY CHECK (one = 1),
    origin         TEXT NOT NULL,
    received       BIGINT NOT NULL,
    size           BIGINT NOT NULL,
    root           BYTEA NOT NULL,
    note           TEXT NOT NULL,
    anchored       BIGINT NOT NULL,
    events         BIGINT NOT NULL,
    -- The key that signs the log's checkpoints, as a verifier key of a signed note, and how often it was changed.
    key            TEXT NOT NULL DEFAULT '',
    key_generation BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE agencies (
    id          TEXT PRIMARY KEY,
    code        TEXT NOT NULL UNIQUE,
    name        TEXT NOT NULL,
    region      TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    key_at_home BOOLEAN NOT NULL DEFAULT FALSE,
    -- active, suspended or closed, and since when; 0 for always.
    state       TEXT NOT NULL DEFAULT 'active',
    state_since BIGINT NOT NULL DEFAULT 0
);

-- Certificates of agencies with their chains; the newest one signs.
CREATE TABLE certificates (
    fingerprint  BYTEA PRIMARY KEY,
    agency_id    TEXT NOT NULL REFERENCES agencies (id),
    chain        TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    -- A certificate with an end signs nothing more, whatever the time of the end.
    ended_at     BIGINT,
    ended_reason TEXT NOT NULL DEFAULT ''
);
CREATE INDEX certificates_agency ON certificates (agency_id, created_at);

-- API keys: only a digest is kept.
CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    agency_id  TEXT NOT NULL REFERENCES agencies (id),
    digest     BYTEA NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    account    TEXT NOT NULL DEFAULT '',
    scopes     TEXT NOT NULL DEFAULT 'read write revoke webhooks',
    networks   TEXT NOT NULL DEFAULT '',
    rate       BIGINT NOT NULL DEFAULT 0,
    quota      BIGINT NOT NULL DEFAULT 0,
    used_at    BIGINT
);

-- The log's entries. idx is the leaf index.
CREATE TABLE entries (
    idx         BIGINT PRIMARY KEY,
    record_idx  BIGINT NOT NULL,
    statement   TEXT NOT NULL,
    signature   BYTEA NOT NULL,
    certificate BYTEA NOT NULL,
    key_use     TEXT NOT NULL
);

-- One row a notarization. idx is that of the issuing entry.
CREATE TABLE records (
    idx          BIGINT PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    agency_id    TEXT NOT NULL,
    number       TEXT NOT NULL UNIQUE,
    code         TEXT NOT NULL,
    sm3          BYTEA NOT NULL,
    size         BIGINT NOT NULL,
    media_type   TEXT NOT NULL,
    class        TEXT NOT NULL,
    fields       TEXT NOT NULL,
    supersedes   TEXT NOT NULL,
    stored       BOOLEAN NOT NULL,
    version      TEXT NOT NULL,
    issued_at    BIGINT NOT NULL,
    received_at  BIGINT NOT NULL,
    standing     TEXT NOT NULL,
    standing_idx BIGINT NOT NULL,
    standing_at  BIGINT NOT NULL,
    standing_by  TEXT NOT NULL,
    reason       TEXT NOT NULL,
    reference    TEXT NOT NULL DEFAULT ''
);
CREATE INDEX records_sm3 ON records (sm3);
CREATE INDEX records_agency ON records (agency_id, idx);

CREATE TABLE idempotency (
    agency_id    TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash BYTEA NOT NULL,
    record_idx   BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (key, agency_id) -- a batch is looked up by its keys
);

-- Written before signatures are made: every signature of an agency key is covered by a row.
CREATE TABLE key_uses (
    id          TEXT PRIMARY KEY,
    agency_id   TEXT NOT NULL,
    certificate BYTEA NOT NULL,
    purpose     TEXT NOT NULL,
    count       BIGINT NOT NULL,
    statements  BYTEA NOT NULL,
    at          BIGINT NOT NULL
);

-- Facts for the outside, in commit order: entries first_idx to last_idx became what kind says.
CREATE TABLE outbox (
    id        BIGINT PRIMARY KEY,
    kind      TEXT NOT NULL,
    first_idx BIGINT NOT NULL,
    last_idx  BIGINT NOT NULL,
    at        BIGINT NOT NULL
);

CREATE TABLE checkpoints (
    size       BIGINT PRIMARY KEY,
    root       BYTEA NOT NULL,
    note       TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Finished evidence, one row for each chain and checkpoint.
CREATE TABLE anchors (
    target     TEXT NOT NULL,
    size       BIGINT NOT NULL REFERENCES checkpoints (size),
    evidence   TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (target, size)
);

CREATE TABLE leases (
    name       TEXT PRIMARY KEY,
    holder     TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE number_blocks (
    region TEXT NOT NULL,
    year   INTEGER NOT NULL,
    next   BIGINT NOT NULL,
    PRIMARY KEY (region, year)
);

-- The picture of an agency's seal from a time on, until the next row. Rows are only added: a
-- certificate shows the seal that was in force when its record was issued. No bytes: from
-- here on the agency has none.
CREATE TABLE seals (
    agency_id     TEXT NOT NULL REFERENCES agencies (id),
    valid_from    BIGINT NOT NULL,
    png           BYTEA NOT NULL,
    demonstration BOOLEAN NOT NULL,
    created_at    BIGINT NOT NULL,
    -- The seal whose picture a row of seals is, empty for none; and until when certificates show it.
    seal_id       TEXT NOT NULL DEFAULT '',
    valid_until   BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (agency_id, valid_from)
);

-- Webhooks: where agencies want their events, and what became of each. Lists of names are
-- texts with spaces between them; times are microseconds since 1970, 0 for none.

-- Which key signs this instance's webhooks and seals their secrets. One row.
CREATE TABLE webhook_key (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    public BYTEA NOT NULL
);

-- next_row and next_idx are the endpoint's place among the events: of all before it
-- deliveries were made.
CREATE TABLE webhook_endpoints (
    id            TEXT PRIMARY KEY,
    agency_id     TEXT NOT NULL REFERENCES agencies (id),
    url           TEXT NOT NULL,
    kinds         TEXT NOT NULL,
    classes       TEXT NOT NULL,
    thin          BOOLEAN NOT NULL,
    fields        TEXT NOT NULL,
    secret        BYTEA NOT NULL,
    old_secret    BYTEA,
    old_until     BIGINT NOT NULL,
    next_row      BIGINT NOT NULL,
    next_idx      BIGINT NOT NULL,
    state         TEXT NOT NULL, -- enabled, disabled; deleted until its deliveries are removed
    reason        TEXT NOT NULL,
    disabled_at   BIGINT NOT NULL,
    failures      BIGINT NOT NULL,
    failing_since BIGINT NOT NULL,
    hold_until    BIGINT NOT NULL,
    created_at    BIGINT NOT NULL
);
CREATE INDEX webhook_endpoints_agency ON webhook_endpoints (agency_id, id);

-- The queue. event_id sorts as the events do. A delivery that is claimed is due when the
-- claim runs out; holder is who has it.
CREATE TABLE deliveries (
    endpoint_id TEXT NOT NULL,
    event_id    TEXT NOT NULL,
    kind        TEXT NOT NULL,
    record_idx  BIGINT NOT NULL, -- -1 when it is about no record
    at          BIGINT NOT NULL,
    status      TEXT NOT NULL,
    attempts    BIGINT NOT NULL,
    due_at      BIGINT NOT NULL,
    holder      TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    finished_at BIGINT NOT NULL,
    PRIMARY KEY (endpoint_id, event_id)
);
CREATE INDEX deliveries_due ON deliveries (endpoint_id, due_at, event_id) WHERE status = 'pending';
CREATE INDEX deliveries_record ON deliveries (endpoint_id, record_idx, event_id) WHERE status = 'pending';
CREATE INDEX deliveries_list ON deliveries (endpoint_id, created_at, event_id);
CREATE INDEX deliveries_finished ON deliveries (finished_at) WHERE status <> 'pending';

CREATE TABLE delivery_attempts (
    endpoint_id TEXT NOT NULL,
    event_id    TEXT NOT NULL,
    at          BIGINT NOT NULL,
    took        BIGINT NOT NULL, -- microseconds
    status      BIGINT NOT NULL, -- of HTTP, 0 when there was no answer
    answer      BYTEA NOT NULL,
    error       TEXT NOT NULL
);
CREATE INDEX delivery_attempts_event ON delivery_attempts (endpoint_id, event_id, at);

-- What outbox rows of the kind endpoint.disabled are about; outbox_id is their id.
CREATE TABLE webhook_notices (
    outbox_id   BIGINT PRIMARY KEY,
    agency_id   TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    url         TEXT NOT NULL,
    reason      TEXT NOT NULL
);

-- For a replay since a time; and for the few records that were withdrawn or replaced, in the
-- order in which that happened. Neither costs a record that is received anything.
CREATE INDEX outbox_at ON outbox (at);
CREATE INDEX records_standing ON records (agency_id, standing_idx) WHERE standing <> 'valid';

-- Records that keys of an account notarized on a day (days since 1970, UTC).
CREATE TABLE key_records (
    account TEXT NOT NULL,
    day     BIGINT NOT NULL,
    records BIGINT NOT NULL,
    PRIMARY KEY (account, day)
);

-- What waits for the signatures of agencies that keep their key at home.
CREATE TABLE prepared (
    id         TEXT PRIMARY KEY,
    agency_id  TEXT NOT NULL REFERENCES agencies (id),
    item       TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX prepared_expiry ON prepared (expires_at);

-- The agency's own name for a record.
CREATE INDEX records_reference ON records (agency_id, reference) WHERE reference <> '';

-- Files on their way in. offset_ is how far an upload is; it moves with the rows of its
-- parts, in one transaction. holder has the upload until held_until.
CREATE TABLE uploads (
    id         TEXT PRIMARY KEY,
    agency_id  TEXT NOT NULL REFERENCES agencies (id),
    size       BIGINT NOT NULL,
    offset_    BIGINT NOT NULL,
    direct     BOOLEAN NOT NULL,
    metadata   TEXT NOT NULL, -- JSON, an object of texts
    holder     TEXT NOT NULL,
    held_until BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX uploads_agency ON uploads (agency_id);
CREATE INDEX uploads_expiry ON uploads (expires_at);

CREATE TABLE upload_parts (
    upload_id TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    offset_   BIGINT NOT NULL,
    size      BIGINT NOT NULL,
    key       TEXT NOT NULL,
    PRIMARY KEY (upload_id, offset_)
);

-- People of the console, their sessions, and what they did. Times are microseconds since 1970,
-- 0 for none.

-- agency_id is empty for operators, who belong to none.
CREATE TABLE users (
    id           TEXT PRIMARY KEY,
    agency_id    TEXT NOT NULL,
    login        TEXT NOT NULL UNIQUE,
    name         TEXT NOT NULL,
    role         TEXT NOT NULL,
    password     TEXT NOT NULL,    -- argon2id
    initial      BOOLEAN NOT NULL, -- somebody else knows it: it must be changed
    factor       BYTEA,            -- sealed secret of the second factor; NULL without one
    factor_step  BIGINT NOT NULL,  -- of the last code that was used: none works twice
    recovery     TEXT NOT NULL,    -- hex digests of the codes that are left, with spaces between them
    created_at   BIGINT NOT NULL,
    disabled_at  BIGINT NOT NULL,
    signed_in_at BIGINT NOT NULL
);
CREATE INDEX users_agency ON users (agency_id, login);

-- digest is the SM3 of the token, which the browser alone has.
CREATE TABLE sessions (
    digest     BYTEA PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id),
    data       BYTEA NOT NULL,
    address    TEXT NOT NULL,
    agent      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id, seen_at);
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- What people did; rows are only added. id is a UUID of version 7 and sorts by time. form is
-- the form that was sent, which works once.
CREATE TABLE audit (
    id        TEXT PRIMARY KEY,
    at        BIGINT NOT NULL,
    agency_id TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    login     TEXT NOT NULL,
    role      TEXT NOT NULL,
    act       TEXT NOT NULL,
    about     TEXT NOT NULL,
    detail    TEXT NOT NULL,
    network   TEXT NOT NULL,
    outcome   TEXT NOT NULL,
    form      TEXT UNIQUE,
    -- Which seal of its trail a deed is in; 0 while it is in none.
    seal      BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX audit_agency ON audit (agency_id, id);
CREATE INDEX audit_networks ON audit (user_id, network) WHERE act = 'sign_in';

-- What idempotency keys of writes stand for that make no record: the id of what was made.
CREATE TABLE claims (
    agency_id    TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash BYTEA NOT NULL,
    made         TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (agency_id, key)
);

-- Document classes of agencies, each change a version that holds from a time on; and the papers
-- on their desks before they are records. Times are microseconds since 1970, 0 for none.
CREATE TABLE classes (
    agency_id TEXT NOT NULL REFERENCES agencies (id),
    id        TEXT NOT NULL,
    from_     BIGINT NOT NULL,
    class     TEXT NOT NULL, -- JSON, see package class
    PRIMARY KEY (agency_id, id, from_)
);

-- once is what a paper was made of: no two are made of the same. JSON in fields is an object of
-- texts; in file and marked: key, hex digest, size; in maker and checker: id, login, name.
CREATE TABLE papers (
    id           TEXT PRIMARY KEY,
    agency_id    TEXT NOT NULL REFERENCES agencies (id),
    once         TEXT NOT NULL,
    kind         TEXT NOT NULL,
    state        TEXT NOT NULL,
    version      BIGINT NOT NULL,
    class        TEXT NOT NULL,
    title        TEXT NOT NULL,
    file_name    TEXT NOT NULL,
    media_type   TEXT NOT NULL,
    reference    TEXT NOT NULL,
    fields       TEXT NOT NULL,
    supersedes   TEXT NOT NULL,
    record       TEXT NOT NULL,
    reason       TEXT NOT NULL,
    file         TEXT NOT NULL,
    marked       TEXT NOT NULL,
    marks        TEXT NOT NULL,
    number       TEXT NOT NULL,
    code         TEXT NOT NULL,
    maker        TEXT NOT NULL,
    maker_id     TEXT NOT NULL,
    checker      TEXT NOT NULL,
    remark       TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    submitted_at BIGINT NOT NULL,
    changed_at   BIGINT NOT NULL,
    UNIQUE (agency_id, once)
);
CREATE INDEX papers_desk ON papers (agency_id, state, id);
CREATE INDEX papers_approved ON papers (changed_at) WHERE state = 'approved';
CREATE INDEX papers_record ON papers (record) WHERE record <> '';

-- Ways to sign in beside the password: invitations, passkeys, single sign-on. Times are
-- microseconds since 1970, 0 for none.

-- digest is the SM3 of the token of a one-time link, which the invited person alone has. A
-- user has one at most: a new one takes the place of the one before.
CREATE TABLE invitations (
    user_id    TEXT PRIMARY KEY REFERENCES users (id),
    digest     BYTEA NOT NULL UNIQUE,
    invited_by TEXT NOT NULL, -- login name
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Public keys of authenticators (Web Authentication Level 3, section 4, credential record).
CREATE TABLE passkeys (
    id         BYTEA PRIMARY KEY, -- the authenticator gave it
    user_id    TEXT NOT NULL REFERENCES users (id),
    name       TEXT NOT NULL,
    public_key BYTEA NOT NULL,    -- COSE_Key
    transports TEXT NOT NULL,     -- with spaces between them
    counter    BIGINT NOT NULL,   -- of signatures; 0 for authenticators that do not count
    eligible   BOOLEAN NOT NULL,  -- it can be copied to other devices of its owner
    backed_up  BOOLEAN NOT NULL,  -- it was
    created_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL
);
CREATE INDEX passkeys_user ON passkeys (user_id, created_at);

-- The OpenID Connect provider of an agency.
CREATE TABLE providers (
    agency_id  TEXT PRIMARY KEY REFERENCES agencies (id),
    issuer     TEXT NOT NULL,
    client_id  TEXT NOT NULL,
    secret     BYTEA,         -- sealed; NULL for a client without one
    claim      TEXT NOT NULL, -- that must equal the login name when an identity is linked; empty for none
    strength   TEXT NOT NULL, -- whether it counts as a second factor: never, claimed, always
    acr        TEXT NOT NULL, -- what is asked for and counts, beside amr "mfa"
    changed_at BIGINT NOT NULL
);

-- Who a person is at their agency's provider.
CREATE TABLE identities (
    user_id   TEXT PRIMARY KEY REFERENCES users (id),
    agency_id TEXT NOT NULL,
    issuer    TEXT NOT NULL,
    subject   TEXT NOT NULL,
    linked_at BIGINT NOT NULL,
    UNIQUE (agency_id, issuer, subject)
);

-- What was begun with a browser and is finished by its answer: a challenge that a passkey
-- signs, a way to a provider and back. digest is of the browser's secret and the attempt's
-- name; a row is taken out when it is used.
CREATE TABLE attempts (
    digest     BYTEA PRIMARY KEY,
    data       BYTEA NOT NULL, -- sealed
    expires_at BIGINT NOT NULL
);
CREATE INDEX attempts_expiry ON attempts (expires_at);

-- What the office works with: sealed stretches of the audit trail, erased attributes, saved
-- searches, and what agencies registered on each day. Times are microseconds since 1970.
CREATE INDEX audit_unsealed ON audit (agency_id, id) WHERE seal = 0;
CREATE INDEX audit_sealed ON audit (agency_id, seal) WHERE seal > 0;
CREATE INDEX audit_about ON audit (agency_id, about) WHERE about <> '';

-- trail is the agency whose deeds they are, empty for those of operators. document is what is
-- to be notarized, until record_id names the record.
CREATE TABLE audit_seals (
    trail         TEXT NOT NULL,
    number        BIGINT NOT NULL, -- from 1, without gaps
    agency_id     TEXT NOT NULL REFERENCES agencies (id), -- that signs
    first_id      TEXT NOT NULL,
    last_id       TEXT NOT NULL,
    deeds         BIGINT NOT NULL,
    sm3           BYTEA NOT NULL,
    title         TEXT NOT NULL,
    document      BYTEA,
    record_id     TEXT NOT NULL,
    record_number TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (trail, number)
);
CREATE UNIQUE INDEX audit_seals_record ON audit_seals (record_number) WHERE record_number <> '';
CREATE INDEX audit_seals_open ON audit_seals (trail) WHERE record_id = '';
CREATE INDEX records_trail ON records (idx) WHERE class = 'audit-trail';

-- names are those of the attributes, with spaces between them; never their values.
CREATE TABLE erasures (
    id         TEXT PRIMARY KEY,
    record_idx BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    by_whom    TEXT NOT NULL,
    names      TEXT NOT NULL,
    document   BOOLEAN NOT NULL,
    reason     TEXT NOT NULL
);
CREATE INDEX erasures_record ON erasures (record_idx, id);

CREATE TABLE saved_searches (
    user_id    TEXT NOT NULL REFERENCES users (id),
    name       TEXT NOT NULL,
    query      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, name)
);

-- What an agency registered on a day (days since 1970, Beijing time), and how many bytes of
-- originals of it are kept.
CREATE TABLE agency_days (
    agency_id TEXT NOT NULL,
    day       BIGINT NOT NULL,
    records   BIGINT NOT NULL,
    bytes     BIGINT NOT NULL,
    PRIMARY KEY (agency_id, day)
);

-- Seals that agencies stamp documents with, and what was done with them. The table seals is
-- another thing: the picture that certificates show from a time on. Times are
-- microseconds since 1970, 0 for none.
CREATE TABLE agency_seals (
    id            TEXT PRIMARY KEY,
    agency_id     TEXT NOT NULL REFERENCES agencies (id),
    name          TEXT NOT NULL,
    owner         TEXT NOT NULL, -- who answers for it
    png           BYTEA NOT NULL,
    demonstration BOOLEAN NOT NULL,
    valid_from    BIGINT NOT NULL,
    valid_until   BIGINT NOT NULL,
    ended_at      BIGINT NOT NULL,
    created_at    BIGINT NOT NULL
);
CREATE INDEX agency_seals_agency ON agency_seals (agency_id, created_at);
CREATE UNIQUE INDEX agency_seals_name ON agency_seals (agency_id, name) WHERE ended_at = 0;

-- Rows are only added, each before the file that it is about is handed out. id is a UUID of
-- version 7 and sorts by time.
CREATE TABLE seal_uses (
    id        TEXT PRIMARY KEY,
    at        BIGINT NOT NULL,
    seal_id   TEXT NOT NULL REFERENCES agency_seals (id),
    agency_id TEXT NOT NULL,
    login     TEXT NOT NULL,
    filing    TEXT NOT NULL, -- what was stamped, as the caller calls it
    number    TEXT NOT NULL, -- of the certificate, where it was known
    original  BYTEA NOT NULL, -- SM3
    stamped   BYTEA NOT NULL, -- SM3
    marks     BIGINT NOT NULL
);
CREATE INDEX seal_uses_seal ON seal_uses (seal_id, id);
CREATE INDEX seal_uses_agency ON seal_uses (agency_id, id);

-- Tables whose rows are notarized together. Times are microseconds since 1970, 0 for none.

-- JSON in header, left_names: lists of texts; in trouble: see bulk.Problem; in maker and checker: id, login, name.
CREATE TABLE bulk_jobs (
    id         TEXT PRIMARY KEY,
    agency_id  TEXT NOT NULL REFERENCES agencies (id),
    once       TEXT NOT NULL,
    state      TEXT NOT NULL,
    version    BIGINT NOT NULL,
    class      TEXT NOT NULL,
    name       TEXT NOT NULL,
    header     TEXT NOT NULL,
    files      BOOLEAN NOT NULL,
    zip        TEXT NOT NULL,
    folder     TEXT NOT NULL,
    second     BOOLEAN NOT NULL,
    left_names TEXT NOT NULL,
    left_over  BIGINT NOT NULL,
    trouble    TEXT NOT NULL,
    partial    BOOLEAN NOT NULL,
    maker      TEXT NOT NULL,
    checker    TEXT NOT NULL,
    remark     TEXT NOT NULL,
    forgotten  BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    done_at    BIGINT NOT NULL,
    -- What whoever hands a table in should know of it: rows, columns and sheets that are hidden, which sheet was read.
    notices    TEXT NOT NULL DEFAULT 'null',
    UNIQUE (agency_id, once)
);
CREATE INDEX bulk_jobs_list ON bulk_jobs (agency_id, id);
CREATE INDEX bulk_jobs_open ON bulk_jobs (state, changed_at) WHERE NOT forgotten;

-- cells, item and problems are JSON, see package bulk; cells and item are empty once they are forgotten.
CREATE TABLE bulk_rows (
    job_id   TEXT NOT NULL REFERENCES bulk_jobs (id),
    no       BIGINT NOT NULL,
    line     BIGINT NOT NULL,
    state    TEXT NOT NULL,
    cells    TEXT NOT NULL,
    item     TEXT NOT NULL,
    problems TEXT NOT NULL,
    record   TEXT NOT NULL,
    number   TEXT NOT NULL,
    PRIMARY KEY (job_id, no)
);
CREATE INDEX bulk_rows_state ON bulk_rows (job_id, state, no);

-- public is the SM2 point (65 bytes). sealed is the encrypted PKCS#8 key as a key file holds it: the passphrase of the
-- instance opens it, and the database has that nowhere.
CREATE TABLE agency_keys (
    public     BYTEA PRIMARY KEY,
    agency_id  TEXT NOT NULL REFERENCES agencies (id),
    sealed     TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX agency_keys_agency ON agency_keys (agency_id);

-- Idempotency keys by the record that they made: for the tail in the object store, which holds them beside
-- the entries, and for erasing, which searched the whole table.
CREATE INDEX idempotency_record ON idempotency (record_idx);

-- The links by which the log came to its present chain, oldest first: evidence made there carries them. instance.chain
-- names the present chain.
CREATE TABLE chain_links (
    place      BIGINT NOT NULL PRIMARY KEY,
    former     TEXT NOT NULL,
    link       TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- The least version of the schema that a program must know to use this database: a migration with which older programs
-- cannot work raises it, see CONTRIBUTING.md.
CREATE TABLE compatibility (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    least_schema BIGINT NOT NULL
);
INSERT INTO compatibility (one, least_schema) VALUES (1, 22);
