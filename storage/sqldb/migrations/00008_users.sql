-- People of the console, their sessions, and what they did. Times are microseconds since 1970,
-- 0 for none.

-- +goose Up

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
    form      TEXT UNIQUE
);
CREATE INDEX audit_agency ON audit (agency_id, id);
CREATE INDEX audit_networks ON audit (user_id, network) WHERE act = 'sign_in';

-- +goose Down
DROP TABLE audit;
DROP TABLE sessions;
DROP TABLE users;
