-- Webhooks: where agencies want their events, and what became of each. Lists of names are
-- texts with spaces between them; times are microseconds since 1970, 0 for none.

-- +goose Up

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

-- +goose Down
DROP INDEX records_standing;
DROP INDEX outbox_at;
DROP TABLE webhook_notices;
DROP TABLE delivery_attempts;
DROP TABLE deliveries;
DROP TABLE webhook_endpoints;
DROP TABLE webhook_key;
