-- The role that Nightjar logs in as. It reads statistics and nothing else: it owns nothing, can create nothing, and sees
-- no row of yours (grant SELECT on what your own `queries` need).
--
--   psql -f role.sql postgres            then set a password: \password nightjar
--
-- A few connections are enough: one is used, and one that is being cut off may linger for a moment.
CREATE ROLE nightjar LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 5;
GRANT pg_monitor TO nightjar;
