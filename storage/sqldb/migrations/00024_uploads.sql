-- Parts of uploads lie under the names of records that they may become, and the object of a direct upload has a row as
-- parts do. Programs from before this would remove them as documents without a record. Uploads under way go on.
-- servers: stopped
-- +goose Up
INSERT INTO upload_parts (upload_id, offset_, size, key)
    SELECT id, 0, size, 'upload/' || id || '.whole' FROM uploads WHERE direct;
UPDATE compatibility SET least_schema = 24;

-- +goose Down
DELETE FROM upload_parts WHERE upload_id IN (SELECT id FROM uploads WHERE direct);
UPDATE compatibility SET least_schema = 23;
