-- The least version of the schema that a program must know to use this database: a migration with which older programs
-- cannot work raises it, see CONTRIBUTING.md. Programs from before this table refuse every schema that is newer than theirs.
-- servers: stopped
-- +goose Up
CREATE TABLE compatibility (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    least_schema BIGINT NOT NULL
);
INSERT INTO compatibility (one, least_schema) VALUES (1, 22);

-- +goose Down
DROP TABLE compatibility;
