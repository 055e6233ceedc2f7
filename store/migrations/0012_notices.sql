-- What the server tells people of, with how far its delivery is. A row is written in
-- the transaction of what it tells of, once for an ID. store/notices.go forgets rows
-- after 400 days, and of the table below too.
CREATE TABLE notices (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT, -- followers count on it never to go back
    id           TEXT    NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 128),
    at           INTEGER NOT NULL,
    type         TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    data         TEXT    NOT NULL CHECK (json_valid(data)),
    webhook      TEXT    NOT NULL, -- empty: nobody is told
    attempts     INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_at      INTEGER,          -- of the next attempt; NULL: there is none
    delivered_at INTEGER,
    failure      TEXT    NOT NULL DEFAULT '', -- of the last attempt
    CHECK (next_at IS NULL OR delivered_at IS NULL)
) STRICT;

CREATE INDEX notices_at ON notices (at);
CREATE INDEX notices_type ON notices (type, seq);
CREATE INDEX notices_subject ON notices (subject, seq);
CREATE INDEX notices_pending ON notices (webhook, next_at) WHERE next_at IS NOT NULL;

-- What was told stays as it was told.
CREATE TRIGGER notices_stay BEFORE UPDATE OF id, at, type, subject, data, webhook ON notices
BEGIN SELECT RAISE(ABORT, 'what was told stays as it was told'); END;

-- Hours in which something cost more than expected. They follow from cost_hours.
CREATE TABLE anomalies (
    id   TEXT    PRIMARY KEY,
    hour INTEGER NOT NULL, -- since 1970, UTC
    body TEXT    NOT NULL CHECK (json_valid(body))
) STRICT, WITHOUT ROWID;

CREATE INDEX anomalies_hour ON anomalies (hour);
