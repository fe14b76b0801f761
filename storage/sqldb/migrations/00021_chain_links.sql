-- servers: stopped
-- +goose Up
-- The links by which the log came to its present chain, oldest first: evidence made there carries them. instance.chain
-- names the present chain.
CREATE TABLE chain_links (
    place BIGINT NOT NULL PRIMARY KEY,
    former TEXT NOT NULL,
    link TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE chain_links;
