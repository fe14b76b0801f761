-- Ways to sign in beside the password: invitations, passkeys, single sign-on. Times are
-- microseconds since 1970, 0 for none.

-- +goose Up

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

-- +goose Down
DROP TABLE attempts;
DROP TABLE identities;
DROP TABLE providers;
DROP TABLE passkeys;
DROP TABLE invitations;
