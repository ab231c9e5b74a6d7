-- The role that Nightjar logs in as. It reads statistics and nothing else: it owns nothing, changes nothing, and sees no
-- row of yours (grant SELECT on what your own `queries` need). Before PostgreSQL 15 everybody may create tables in the
-- schema public, unless you take that away: REVOKE CREATE ON SCHEMA public FROM PUBLIC
--
--   psql -f role.sql postgres            then set a password: \password nightjar
--
-- A few connections are enough: one is used, and one that is being cut off may linger for a moment.
CREATE ROLE nightjar LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 5;
GRANT pg_monitor TO nightjar;
ALTER ROLE nightjar SET default_transaction_read_only = on;
