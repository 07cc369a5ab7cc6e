-- People who sign in, and their sessions. Of a password and of a session's token only what recognises them is here.

CREATE TABLE users (
    name         TEXT    PRIMARY KEY,
    role         TEXT    NOT NULL,
    password     TEXT    NOT NULL,
    created      INTEGER NOT NULL,
    last_sign_in INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    token_hash BLOB    PRIMARY KEY,
    user_name  TEXT    NOT NULL REFERENCES users ON DELETE CASCADE,
    created    INTEGER NOT NULL,
    last_used  INTEGER NOT NULL,
    expires    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_of_user ON sessions (user_name, created);
