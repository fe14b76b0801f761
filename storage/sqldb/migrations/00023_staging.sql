-- Documents of papers and bulk jobs lie under the names of the records that they are to become. Programs from before this
-- would remove them as documents without a record. No row changes: those that name a file elsewhere are finished as they are.
-- servers: stopped
-- +goose Up
UPDATE compatibility SET least_schema = 23;

-- +goose Down
UPDATE compatibility SET least_schema = 22;
