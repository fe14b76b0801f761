-- Lists of an agency's records by class and by standing, in the order in which they are shown. Records that stand cost
-- the second one nothing. A release from before does not need them, and is not disturbed by them.
-- servers: stopped
-- +goose Up
CREATE INDEX records_class ON records (agency_id, class, idx);
CREATE INDEX records_ended_order ON records (agency_id, standing, idx) WHERE standing <> 'valid';

-- The few records that were received more than five minutes after they were issued, since their agency signed them at
-- home: a search by day finds all others by when they were received, in which order they are numbered.
CREATE INDEX records_late ON records (agency_id, idx) WHERE received_at - issued_at > 300000000;

-- The audit trail by person, by act, and by what it is about. People make its lines, not systems.
CREATE INDEX audit_login ON audit (login, id);
CREATE INDEX audit_act ON audit (agency_id, act, id);
CREATE INDEX audit_acts ON audit (act, id);
CREATE INDEX audit_of ON audit (about, id) WHERE about <> '';

-- How many records of an agency were revoked or replaced, so that nobody counts them.
CREATE TABLE standing_counts (
    agency_id TEXT NOT NULL,
    standing  TEXT NOT NULL,
    records   BIGINT NOT NULL,
    PRIMARY KEY (agency_id, standing)
);
INSERT INTO standing_counts (agency_id, standing, records)
    SELECT agency_id, standing, count(*) FROM records WHERE standing <> 'valid' GROUP BY agency_id, standing;

-- +goose Down
DROP TABLE standing_counts;
DROP INDEX records_late;
DROP INDEX audit_of;
DROP INDEX audit_acts;
DROP INDEX audit_act;
DROP INDEX audit_login;
DROP INDEX records_ended_order;
DROP INDEX records_class;
