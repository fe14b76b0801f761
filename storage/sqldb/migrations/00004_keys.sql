-- Rights, networks and limits of API keys, and what they used.

-- +goose Up
ALTER TABLE api_keys ADD COLUMN account TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN scopes TEXT NOT NULL DEFAULT 'read write revoke webhooks';
ALTER TABLE api_keys ADD COLUMN networks TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN rate BIGINT NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN quota BIGINT NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN used_at BIGINT;
UPDATE api_keys SET account = id;

-- Records that keys of an account notarized on a day (days since 1970, UTC).
CREATE TABLE key_records (
    account TEXT NOT NULL,
    day     BIGINT NOT NULL,
    records BIGINT NOT NULL,
    PRIMARY KEY (account, day)
);

-- +goose Down
DROP TABLE key_records;
ALTER TABLE api_keys DROP COLUMN used_at;
ALTER TABLE api_keys DROP COLUMN quota;
ALTER TABLE api_keys DROP COLUMN rate;
ALTER TABLE api_keys DROP COLUMN networks;
ALTER TABLE api_keys DROP COLUMN scopes;
ALTER TABLE api_keys DROP COLUMN account;
