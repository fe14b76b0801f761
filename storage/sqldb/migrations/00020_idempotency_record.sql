-- Idempotency keys by the record that they made: for the tail in the object store, which holds them beside
-- the entries, and for erasing, which searched the whole table.
-- servers: stopped
-- +goose Up
CREATE INDEX idempotency_record ON idempotency (record_idx);

-- +goose Down
DROP INDEX idempotency_record;
