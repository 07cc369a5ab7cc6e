-- The names that are a number in some system: of shop:1000 what follows the colon. People seldom say the system.
CREATE INDEX event_names_by_number ON event_names ((substr(name, strpos(name, ':') + 1)), name);
