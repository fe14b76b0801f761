-- Document classes of agencies, each change a version that holds from a time on; and the papers
-- on their desks before they are records. Times are microseconds since 1970, 0 for none.

-- +goose Up
CREATE TABLE classes (
    agency_id TEXT NOT NULL REFERENCES agencies (id),
    id        TEXT NOT NULL,
    from_     BIGINT NOT NULL,
    class     TEXT NOT NULL, -- JSON, see package class
    PRIMARY KEY (agency_id, id, from_)
);

-- once is what a paper was made of: no two are made of the same. JSON in fields is an object of
-- texts; in file and marked: key, hex digest, size; in maker and checker: id, login, name.
CREATE TABLE papers (
    id           TEXT PRIMARY KEY,
    agency_id    TEXT NOT NULL REFERENCES agencies (id),
    once         TEXT NOT NULL,
    kind         TEXT NOT NULL,
    state        TEXT NOT NULL,
    version      BIGINT NOT NULL,
    class        TEXT NOT NULL,
    title        TEXT NOT NULL,
    file_name    TEXT NOT NULL,
    media_type   TEXT NOT NULL,
    reference    TEXT NOT NULL,
    fields       TEXT NOT NULL,
    supersedes   TEXT NOT NULL,
    record       TEXT NOT NULL,
    reason       TEXT NOT NULL,
    file         TEXT NOT NULL,
    marked       TEXT NOT NULL,
    marks        TEXT NOT NULL,
    number       TEXT NOT NULL,
    code         TEXT NOT NULL,
    maker        TEXT NOT NULL,
    maker_id     TEXT NOT NULL,
    checker      TEXT NOT NULL,
    remark       TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    submitted_at BIGINT NOT NULL,
    changed_at   BIGINT NOT NULL,
    UNIQUE (agency_id, once)
);
CREATE INDEX papers_desk ON papers (agency_id, state, id);
CREATE INDEX papers_approved ON papers (changed_at) WHERE state = 'approved';
CREATE INDEX papers_record ON papers (record) WHERE record <> '';

-- +goose Down
DROP TABLE papers;
DROP TABLE classes;
