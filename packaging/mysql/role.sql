-- The user that Nightjar logs in as, for MySQL and MariaDB. It reads the server's state and nothing else: it can change
-- nothing, and sees no table of yours. PROCESS, which InnoDB's tables ask for, shows the statements of others as well.
--
--   mysql < role.sql        then: ALTER USER 'nightjar'@'%' IDENTIFIED BY '…' ACCOUNT UNLOCK;
--
-- Put the host that Nightjar runs on in the place of %. A few connections are enough: one is used, and one that is being
-- cut off may linger for a moment.
CREATE USER 'nightjar'@'%' WITH MAX_USER_CONNECTIONS 3 ACCOUNT LOCK;
GRANT PROCESS, REPLICATION CLIENT /*M!100509 , SLAVE MONITOR */ ON *.* TO 'nightjar'@'%';
