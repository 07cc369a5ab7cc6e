-- People who sign in, and their sessions. Of a password and of a session's token only what recognises them is here.

CREATE TABLE users (
    name         TEXT COLLATE "C" PRIMARY KEY,
    role         TEXT NOT NULL,
    password     TEXT NOT NULL,
    created      BIGINT NOT NULL,
    last_sign_in BIGINT
);

CREATE TABLE sessions (
    token_hash BYTEA PRIMARY KEY,
    user_name  TEXT COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
    created    BIGINT NOT NULL,
    last_used  BIGINT NOT NULL,
    expires    BIGINT NOT NULL
);

CREATE INDEX sessions_of_user ON sessions (user_name, created);
