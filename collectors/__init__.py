"""The collectors, by kind. Resolved when first used: a collector that is not configured costs no import."""

BUILTIN: dict[str, str] = {
    "host": "collectors.host:Host",
    "http": "collectors.probes.http:Http",
    "tls": "collectors.probes.tls:Tls",
    "tcp": "collectors.probes.tcp:Tcp",
    "dns": "collectors.probes.dns:Dns",
    "icmp": "collectors.probes.icmp:Icmp",
    "redis": "collectors.redis:Redis",
    "scrape": "collectors.scrape:Scrape",
    "postgres": "collectors.postgres:Postgres",
    "pgbouncer": "collectors.pgbouncer:Pgbouncer",
    "mysql": "collectors.mysql:Mysql",
}
