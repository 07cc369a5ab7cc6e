-- Who revoked tokens: how many revocations may be in force is counted for each by itself.
ALTER TABLE token_revocations ADD COLUMN revoker TEXT COLLATE "C" NOT NULL DEFAULT '';

CREATE INDEX token_revocations_by_revoker ON token_revocations (revoker, until);
