"""Expressions for both engines: one for each thing that Prometheus' documentation tells of, in the names of our data.

Source: https://prometheus.io/docs/prometheus/latest/querying/ (basics, operators, functions, examples), version 3.5.
"""

from __future__ import annotations

from typing import Final


def listed(text: str) -> tuple[str, ...]:
    """The expressions between double semicolons."""
    return tuple(" ".join(one.split()) for one in text.split(";;"))


LITERALS: Final = (
    *listed(r"""
    "a string" ;; 'a \n \\ \t line' ;; `raw \n ' \" text` ;; "\x41\u00fc\101" ;; '☃' ;; 23 ;; -2.43 ;; 3.4e-9 ;;
    0x8f ;; -Inf ;; NaN ;; +inf ;; 1_000_000 ;; .123_456_789 ;; 0x_53_AB_F3_82 ;; 1e3 ;; 1s ;; 2m ;; 1ms ;; -2h ;;
    1h30m ;; 12h34m56s ;; 54s321ms ;; 1d ;; 1w ;; 1y ;; 0xABm ;; 1.5h ;; +Infd ;; 5e ;; 1 # a comment ;; (((1))) ;;
    - - 1 ;; --1 ;; +up ;; -+-up ;; 1e400 ;; up > 1e400 ;; -1.8e308 ;; 1e308 ;; a:1e400 ;; sum by (b1e400) (up) ;;
    rate(up[1e10]) ;; rate(up[1e14]) ;; rate(up[293y]) ;; rate(up[292y]) ;; up offset 1e11 ;; up offset Inf
    """),
    "# a comment\nup",
)

SELECTORS: Final = (
    *listed(r"""
    http_requests_total ;; http_requests_total{job="api", instance="a:1"} ;; http_requests_total{job=~".*eb"} ;;
    http_requests_total{code!~"4.."} ;; http_requests_total{instance=~"a:1|b:1|z",method!="get"} ;;
    http_requests_total{handler=""} ;; http_requests_total{handler!=""} ;;
    http_requests_total{code!="200",code=~"..0"} ;; {job=~".*"} ;; {job=~".+",method="get"} ;;
    {job=~".*",method="post"} ;; {__name__="up"} ;; {__name__=~"memory_.*"} ;;
    {__name__=~"memory_.*_bytes",__name__!~".*used.*"} ;; up{__name__="up"} ;; up{__name__="x"} ;; on{} ;;
    {__name__="on"} ;; up{} ;; up{,} ;; up{job="api",} ;; up{job="nobody"} ;; nothing_there ;;
    temperature_celsius{room=""} ;; temperature_celsius{floor=""} ;; temperature_celsius{room=~".*\n"} ;;
    temperature_celsius{room=~"attic.*"} ;; temperature_celsius{room="attic \"north\"\\\n"} ;;
    temperature_celsius{room=~`attic "[a-z]+"(?s:.+)`} ;; queue_length{lane="über"} ;; queue_length{lane=~"ü.er"} ;;
    queue_length{lane=~"(?i)FAST|Slow"} ;; queue_length{lane=~"fast|"} ;; queue_length{lane!~"|fast"} ;;
    queue_length{lane=~"s"} ;; queue_length{lane=~"("} ;; cpu_time_ns{env=~"t.*☃"} ;;
    cpu_time_ns{env=~"\\p{L}+ ."} ;; {"disk.free"} ;; {"disk.free", "mount.point"="/srv"} ;; {"up",job="web"} ;;
    sum by ("mount.point") ({"disk.free"}) ;; wait_seconds_bucket{le="0.1"} ;; wait_seconds_bucket{le="1"} ;;
    wait_seconds_bucket{le="1.0"} ;; wait_seconds_bucket{le="+Inf"} ;; wait_seconds_sum ;; wait_seconds_count ;;
    wait_seconds ;; duration_seconds ;; duration_seconds_sum ;; duration_seconds_count ;;
    duration_seconds{quantile="0.9"} ;; balance_bucket ;; visitors ;; visits_total ;; odd{kind="nan"} ;; odd ;;
    odd_walk ;; event_time_seconds ;; http_requests_total[5m] ;; wait_seconds_bucket{lane='reshaped'} ;; up == up ;;
    absent_metric or up ;; visits_total offset 3m ;; visitors offset 4m ;; http_requests_total offset 5m ;;
    sum(http_requests_total{method="get"} offset 5m) ;; up offset 1w ;; rate(http_requests_total[5m] offset 4m) ;;
    rate(http_requests_total[5m] offset -1m) ;; http_requests_total offset -1m ;;
    sum(http_requests_total{method="get"}) offset 5m ;; visitors offset 15s ;; visitors offset 1m ;;
    visitors offset 90s ;; visitors_count offset 1s ;; visitors offset 4m45s ;; visitors offset 10m ;;
    wait_seconds_bucket offset 6m ;;
    wait_seconds_count offset 5m ;; rate(http_requests_total[5m] @ end()) ;;
    http_requests_total @ 1709251000 offset 5m ;; up[5m:1m] ;; rate(http_requests_total[5m])[30m:1m] ;;
    max_over_time(deriv(rate(visits_total[30s])[5m:30s])[10m:]) ;; rate(http_requests_total[300]) ;;
    rate(http_requests_total[1m30s]) ;; rate(http_requests_total[5m * 2]) ;; rate(http_requests_total[0s]) ;;
    rate(up[]) ;; http_requests_total offset (1h / 2) ;; up[5m] offset 1m ;; up offset 0s ;; up{instance=~`a:\d`} ;;
    up{instance=~`a:\\d`} ;; up{instance=~'a:\\d'} ;; up{instance=~`a:[0-9]`}
    """),
    *(f"http_requests_total @ {time}" for time in (1709251185, 1709251000, "start()", "end()")),
)

OPERATORS: Final = (
    *listed(r"""
    1 + 2 ;; 5 - 7 ;; 3 * 4 ;; 7 / 2 ;; 7 % 4 ;; -7 % 4 ;; 7 % -4 ;; 7.5 % 2 ;; 2 ^ 10 ;; 2 ^ 3 ^ 2 ;; -2 ^ 2 ;;
    1 / 0 ;; 0 / 0 ;; -1 / 0 ;; 5 % 0 ;; Inf - Inf ;; 0 * Inf ;; Inf % 2 ;; 2 % Inf ;; (-8) ^ (1/3) ;; 0 ^ -1 ;;
    0 ^ 0 ;; NaN ^ 0 ;; 1 ^ NaN ;; 2 * 3 % 2 ;; 1 - 2 - 3 ;; 1 + 2 * 3 ^ 2 ;; 1 == bool 1 ;; 1 != bool 2 ;;
    1 > bool NaN ;; 1 >= bool 1 ;; 2 < bool 1 ;; NaN == bool NaN ;; 1 == 1 ;; 1 < bool 2 < bool 3 ;; 1 and 2 ;;
    2 atan2 1 ;; 0 atan2 -1 ;; 10 atan2 Inf ;; 1e308 * 10 ;; -odd ;; -up ;; - up ^ 2 ;; -(up + 1) ;; odd == NaN ;;
    odd != NaN ;; odd % 0 ;; odd ^ 0.5 ;; odd ^ -1 ;; (-odd) ^ 3 ;; memory_limit_bytes - memory_used_bytes ;;
    (memory_limit_bytes - memory_used_bytes) / 1024 / 1024 ;;
    sum by (app, proc) (memory_limit_bytes - memory_used_bytes) / 1024 / 1024 ;;
    memory_used_bytes / memory_limit_bytes > 0.3 ;;
    http_requests_total{code="500"} / ignoring(code) http_requests_total{code="200"} ;;
    http_requests_total{code="404"} / on(job, instance, method) http_requests_total{code="200",method="get"} ;;
    http_requests_total{handler=""} / ignoring(code) group_left http_requests_total{code="200"} ;;
    http_requests_total{code="200"} - ignoring(code) group_right http_requests_total{code!="200",handler=""} ;;
    up * on(job, instance) group_left(version) build_info ;;
    http_requests_total * on(instance, job) group_left(version) build_info ;;
    build_info * on(instance, job) group_right(version) http_requests_total ;;
    build_info + on(instance) group_right up ;;
    queue_length * on(instance) group_left(version, nothing) build_info ;;
    queue_length * on(instance) group_left(lane) build_info ;; queue_length > bool on(instance) group_left up ;;
    queue_length > on(instance) group_left up ;; up < on(instance) group_right queue_length ;;
    queue_length * on(job) group_left up ;; queue_length / queue_length ;; up + http_requests_total ;;
    up + on(job) up ;; up == on(instance, job) build_info ;; up > bool on(instance) build_info ;;
    up > ignoring(version) build_info ;; up + on() up ;; sum(up) / on() count(up) ;;
    queue_length - on(lane) group_left sum by (lane) (queue_length) ;; up - ignoring(instance) up ;;
    up + on(__name__, instance) up ;; up + on(__name__, instance, job) up ;; up == on(__name__, instance) up ;;
    up * ignoring(__name__) up ;; up and build_info ;; up and on(instance) build_info ;;
    up and ignoring(version) build_info ;; up or build_info ;; up or on(instance) build_info ;;
    up unless build_info ;; up unless on(instance) build_info ;; up or ignoring(version) build_info ;;
    up unless up{job="api"} ;; up and on() vector(1) ;; vector(1) or up ;; up or vector(1) ;;
    up unless on() nothing_there ;; up and on(nolabel) build_info ;; up == 0 or up == 1 ;;
    up > 0 and queue_length ;; queue_length > 10 and on(instance) up == 1 ;; up or nothing_there ;;
    nothing_there or up ;; nothing_there + up ;; nothing_there and up ;; up unless nothing_there ;;
    nothing_there unless up ;; up == bool nothing_there ;; up or up offset 5m ;; visitors or visitors offset 5m ;;
    visitors unless visitors offset 5m ;; visitors and visitors offset 5m ;;
    up + 1 or queue_length * 2 and on(instance) up unless on(job) nothing_there ;; up and up or up unless up ;;
    up and on(instance) group_left up ;; {__name__=~"memory_.*"} + 1 ;; {__name__=~"memory_.*"} > 0 ;;
    {__name__=~"memory_.*"} > bool 0 ;; -{__name__=~"memory_.*"} ;; up + on(instance) {__name__=~"up|build_info"} ;;
    {__name__=~"up|build_info"} * on(instance) group_left up ;; up and bool up ;;
    up * on(instance) group_left(__name__) build_info ;; queue_length % on(instance) group_left() build_info ;;
    1 + up ;; up + '1' ;; up + on(instance) group_left(instance) build_info ;;
    queue_length + on(instance) group_left(job) build_info ;; up[5m] + 1
    """),
    *(f"odd {op} 2" for op in ("+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<=")),
    *(f"2 {op} odd" for op in ("+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<=")),
    *(f"odd {op} bool 0" for op in ("==", "!=", ">", "<", ">=", "<=")),
    *(f"0 {op} bool odd" for op in ("==", "!=", ">", "<", ">=", "<=")),
    *(f"odd {op} odd" for op in ("+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<=")),
    *(f"odd {op} bool odd" for op in ("==", "!=", ">", "<", ">=", "<=")),
    *(f"odd {op} -42.5" for op in ("%", "^", "atan2")),
)

AGGREGATIONS: Final = (
    *listed(r"""
    sum(http_requests_total) by (job) ;; sum without (instance, code) (http_requests_total) ;;
    sum by (job, nothing,) (up) ;; sum by () (up) ;; sum without () (up) ;; sum by (__name__) (up) ;;
    sum without (__name__) (up) ;; sum by (__name__) ({__name__=~"memory_.*"}) ;; sum(1) ;;
    count by (job) ({job="api"}) ;; count without (instance) ({__name__=~"up|build_info"}) ;; sum(nothing_there) ;;
    count(nothing_there) ;; topk(3, http_requests_total) ;; bottomk(2, http_requests_total) ;;
    topk(1, http_requests_total) by (job) ;; topk by (job) (2, queue_length) ;;
    bottomk without (lane) (1, queue_length) ;; topk(0, queue_length) ;; topk(-1, queue_length) ;;
    topk(1.9, queue_length) ;; topk(100, queue_length) ;; topk(NaN, queue_length) ;; topk(Inf, queue_length) ;;
    bottomk(-Inf, up) ;; topk(-1e300, up) ;; topk(NaN, nothing_there) ;; bottomk(2^63, up) ;;
    topk(9, odd) ;; bottomk(9, odd) ;; topk(7, odd{kind!~'zero|minus_zero'}) ;;
    topk(scalar(count(up)), queue_length) ;; topk(3, sum by (app, proc) (rate(cpu_time_ns[5m]))) ;;
    count by (app) (cpu_time_ns) ;; topk(2, nothing_there) ;; topk(1, 1) ;; sum(up, 1) ;;
    count_values("version", queue_length) ;; count_values("value", up) ;; count_values by (job) ("value", up) ;;
    count_values("kind", odd) ;; count_values without (instance) ("job", up) ;; count_values("__name__", up) ;;
    count_values(("x"), up) ;; count_values("a b", up) ;; count_values("", up) ;; count_values("x", odd / 3) ;;
    count_values("x", memory_limit_bytes * 1e12) ;; count_values("x", odd * 1e-7) ;;
    count_values("x", vector(1e21)) ;; count_values("x", vector(123456.789e3)) ;; quantile(0.5, odd) ;;
    quantile(0.9, odd) ;; quantile without (lane) (0.3, queue_length) ;; quantile(0.1, nothing_there) ;;
    avg(odd_walk) ;; limitk(2, up) ;; limit_ratio(0.1, up) ;; sum(sum by (job) (up)) ;;
    max by (job) (rate(http_requests_total[5m])) ;; group by (job) (up) * 3 ;; avg(memory_limit_bytes * 1e300) ;;
    sum(memory_limit_bytes * 1e300) ;; stddev(memory_limit_bytes * 1e150) ;;
    avg(vector(1e308)) + sum(vector(1e308)) ;; stdvar(memory_limit_bytes) ;; stddev(memory_limit_bytes + 1e12) ;;
    avg(odd > 0) ;; sum(odd < 0) ;; max(odd{kind='nan'}) ;; sum(odd{kind=~'high|low'}) ;;
    count_values without (job) ("job", up) ;; count_values by (job) ("job", up) ;;
    count_values without (instance) ("__name__", up) ;; count_values without (__name__) ("x", up)
    """),
    *(f"{op}(http_requests_total)" for op in ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")),
    *(f"{op}(odd)" for op in ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")),
    *(
        f"{op} by (room) (temperature_celsius)"
        for op in ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")
    ),
    *(f"{op} without (floor) (temperature_celsius)" for op in ("sum", "avg", "min", "max", "count", "group", "stdvar")),
    *(f"{op} by (kind) (odd)" for op in ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")),
    *(
        f"quantile({share}, queue_length)"
        for share in (0, 0.1, 0.5, 0.9, 1, -1, 1.5, "NaN", "Inf", "-Inf", "scalar(up)")
    ),
    *(f"quantile by (job) ({share}, http_requests_total)" for share in (0.25, 0.5, 2)),
)

MAPS: Final = (
    *("abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "sort", "sort_desc", "deg", "rad"),
    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "sin", "sinh", "tan", "tanh", "round"),
)

# Beyond what a float holds, without an exception.
EDGES: Final = (
    *listed(r"""
    stdvar(odd{kind=~"huge|zero"}) ;; stddev(odd{kind=~"huge|zero"}) ;; stdvar by () (exp(queue_length * 10)) ;;
    exp(vector(1e5)) ;; exp(vector(-1e5)) ;; 10 ^ 400 ;; -10 ^ 401 ;; (-10) ^ 401 ;; 1e300 * 1e300 ;; 1e-300 / 1e300 ;;
    avg(odd{kind=~"huge|zero"} * 1e8) ;; sum(vector(1.7e308) or up * 1.7e308) ;; avg(vector(1.7e308) or up * 1.7e308) ;;
    quantile(0.5, odd{kind=~"high|low"}) ;; quantile(0.3, odd{kind=~"huge|low|minus"}) ;; up / 1e-320 ;;
    histogram_quantile(0.5, wait_seconds_bucket * 1e308) ;;
    histogram_quantile(0.5, rate(wait_seconds_bucket[5m]) * 1e308)
    """),
    *(f"{name}(odd{{kind='{kind}'}} * 1e8)" for name in MAPS for kind in ("huge", "tiny", "minus")),
    *(f"round(odd, {to})" for to in ("1e300", "1e-300", "-1e-320", "Inf", "-Inf", "NaN", "0", "-0")),
    *(f"odd * 1e8 {op} {number}" for op in ("%", "^", "atan2", "/") for number in ("1e300", "1e-300", "-3", "0.1")),
    *(f"clamp(odd, {least}, {most})" for least in ("NaN", "-Inf", "Inf", "0") for most in ("NaN", "-Inf", "Inf", "0")),
)

DATES: Final = ("minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year")

FAR: Final = ("vector(1e11)", "vector(1e13)", "vector(253402300800)", "vector(-62135596801)")
# Of NaN and of what no integer holds Go makes a time that depends on the processor: not compared.
TIMES: Final = ("", "event_time_seconds", 'odd{kind=~"zero|minus.*|tiny"}', "-event_time_seconds", *FAR)

VALUES: Final = (
    *("$1", "$2$1", "$n", "${n}1", "$n1", "$0", "$10", "$01", "${01}"),
    *("$$", "$$$1", "${", "${}", "$-", "a$", "$é", "$1é", "$1²"),
)
PATTERNS: Final = ("(.*):(.*)", "(?P<n>.*):(?P<n1>.*)", "(.)(.)?(.)?.*", "a(:)?1", "(z)?.*", "(", "")
ODD_PATTERNS: Final = (
    *("(?s)a.1", "(?i)A:1", r"[[:alpha:]]:\\d", r"\\pL:.*", r"\\Qa:1\\E", "(?<x>a):1", "^a:1$", r"\\Aa:1\\z", "a|b:1"),
    *(
        "x{1001}",
        "(a",
        "a**",
        r"\\C:1",
        r"\\x{61}:1",
        "(?U)a.*",
        "(?m)^a:1$",
        r"\\ba:1",
        "(?=a)",
        "a++",
        r"\\1",
        "()",
        "(?i:ß|K)",
    ),
)

FUNCTIONS: Final = (
    *listed(r"""
    round(temperature_celsius, 5) ;; round(temperature_celsius, 0.3) ;; round(odd, 10) ;;
    round(temperature_celsius, -2) ;; round(up, 0) ;; round(odd, NaN) ;; round(temperature_celsius, Inf) ;;
    round(temperature_celsius * 1e17, 3) ;; round(vector(-0.5)) ;; round(vector(0.49999999999999994)) ;;
    round(vector(2.5)) ;; clamp(odd, -1, 1) ;; clamp(odd, 1, -1) ;; clamp(odd, NaN, 1) ;; clamp(odd, -1, NaN) ;;
    clamp(odd, -Inf, Inf) ;; clamp_min(odd, 3) ;; clamp_max(odd, 3) ;; clamp_min(odd, NaN) ;;
    clamp_max(odd, scalar(nothing_there)) ;; clamp_min(up, 0.5) ;; clamp(queue_length, 10, 50) ;; clamp(up) ;;
    clamp_min(up) ;; absent(nothing_there) ;; absent(nothing_there{job="api"}) ;;
    absent(nothing_there{job="api",instance=~".*"}) ;; absent(sum(nothing_there)) ;; absent(up) ;;
    absent(nothing_there{job="a",job="b"}) ;; absent({job="x",__name__="y"}) ;; absent(nothing_there > 1) ;;
    absent(nothing_there{a!="b",c="d"}) ;; absent((nothing_there{job="a"})) ;; absent(nothing_there offset 5m) ;;
    absent(vector(1)) ;; absent(nothing_there{job="a",job!="a"}) ;; absent(nothing_there{job=""}) ;;
    absent(nothing_there{a!="1",b=~"x",a="3",b="4",c=~"",c="5",d!="",d="6",e!~"1|",e="7",f!~"1",f="8"}) ;;
    absent_over_time(nothing_there{job!="a",job="b"}[5m]) ;; absent(nothing_there{a="1",a=~".*",b=~".*",b="1"}) ;;
    absent_over_time(nothing_there{job="api"}[1h]) ;; absent_over_time(nothing_there{job="a",b=~".*"}[5m]) ;;
    absent_over_time(up[5m]) ;; absent_over_time(up[5s] offset 1w) ;;
    absent_over_time(visits_total{page='early'}[1m]) ;; absent_over_time(visits_total{page='early'}[10m]) ;;
    absent(visits_total{page='early'}) ;; scalar(up) ;; scalar(sum(up)) ;; scalar(nothing_there) ;; vector(1) ;;
    vector(time()) ;; vector(scalar(up)) ;; time() ;; time() - 5 ;; pi() ;; pi() * 2 ;; timestamp(up) ;;
    timestamp(up + 1) ;; timestamp((up)) ;; timestamp(wait_seconds_count) ;; timestamp(up offset 1m) ;;
    timestamp(temperature_celsius) ;; timestamp(vector(1)) ;; time() - timestamp(node_load1) ;;
    timestamp(timestamp(up)) ;; timestamp(sum(up)) ;; timestamp(-up) ;; timestamp(visitors offset 4m) ;;
    timestamp(nothing_there) ;; label_replace(up, "host", "$1", "instance", "(.*):.*") ;;
    label_replace(up, "host", "$1", "instance", "(.*):x") ;; label_replace(up, "job", "", "job", ".*") ;;
    label_replace(up, "host", "${name}!", "instance", "(?P<name>[a-z]).*") ;;
    label_replace(up, "x", "$2-$1", "instance", "(.*):(.*)") ;;
    label_replace(up, "x", "$3", "instance", "(.*):(.*)") ;; label_replace(up, "__name__", "down", "job", ".*") ;;
    label_replace(up, "x", "$1", "__name__", "(.*)") ;; label_replace(up, "instance", "same", "job", "api") ;;
    label_replace(up, "x y", "1", "job", ".*") ;; label_replace(up, "x", "$1", "missing", "(.*)") ;;
    label_replace(up, "x", "here", "missing", "") ;; label_replace(up, "x", "$$1 $1x ${1}x", "job", "(.*)") ;;
    label_replace(up, "x", "a", "job", "(") ;; label_replace(queue_length, "lane", "$1", "lane", "(.).*") ;;
    label_replace(queue_length, "lane", "$0", "lane", "f") ;;
    label_replace(temperature_celsius, "x", "$1", "room", "(attic.*)") ;;
    label_replace(up, ("x"), "$1", (("job")), ("(.*)")) ;; label_join(up, "a", (","), "job", ("instance")) ;;
    label_join(up, "both", "-", "job", "instance") ;; label_join(up, "both", ", ", "job", "missing", "instance") ;;
    label_join(up, "job", "") ;; label_join(up, "x", "-") ;; label_join(up, "instance", "", "job") ;;
    label_join(up, "x", "-", "__name__", "job") ;; label_join(up, "__name__", "_", "__name__", "job") ;;
    label_join(up, "x y", "-", "job") ;; label_join(nothing_there, "x", "-", "job") ;; sort(http_requests_total) ;;
    sort_desc(http_requests_total) ;; sort(sum by (job) (up)) ;; sort_desc(odd) ;; sort_by_label(up, "job") ;;
    info(up) ;; sort(queue_length > 30)
    """),
    *(f'label_replace(up, "x", "{value}", "instance", "{pattern}")' for value in VALUES for pattern in PATTERNS),
    *(f'up{{instance=~"{pattern}"}}' for pattern in ODD_PATTERNS),
    *(f"{name}({what})" for name in MAPS for what in ("odd", "temperature_celsius", "odd / 50")),
    *(f"{name}({what})" for name in DATES for what in TIMES),
)

OVER_TIME: Final = (
    *("rate", "irate", "increase", "delta", "idelta", "deriv", "changes", "resets"),
    *("avg_over_time", "min_over_time", "max_over_time", "sum_over_time", "count_over_time", "stddev_over_time"),
    *("stdvar_over_time", "last_over_time", "present_over_time"),
)

RANGES: Final = (
    *listed(r"""
    predict_linear(odd_walk[10m], 60) ;; predict_linear(odd[10m], 60) ;; predict_linear(visitors[1m], 60) ;;
    predict_linear(node_filesystem_avail_bytes[20m], 86400) < 1e9 ;;
    predict_linear(temperature_celsius[10m] offset 3m, 60) ;; deriv(temperature_celsius[20m] offset 5m) ;;
    predict_linear(memory_limit_bytes[10m], 5) ;; sum by (job) (rate(http_requests_total[5m])) ;;
    sum(rate(http_requests_total[5m])) / sum(rate(http_requests_total[5m] offset 5m)) ;; rate(nothing_there[5m]) ;;
    max_over_time(up[5m]) - min_over_time(up[5m]) ;; rate(http_requests_total[1s]) ;;
    irate(http_requests_total[29s]) ;; irate(http_requests_total[31s]) ;; rate(up) ;;
    rate({__name__=~"http.*|visits.*"}[5m]) ;; last_over_time({__name__=~"memory.*"}[5m]) ;;
    max_over_time({__name__=~"memory.*"}[5m]) ;; rate({job="api"}[5m]) ;; sum(up[5m]) ;;
    double_exponential_smoothing(temperature_celsius[10m], 0.5, 0.5) ;; mad_over_time(up[5m]) ;;
    holt_winters(up[5m], 0.5, 0.5) ;; ts_of_max_over_time(up[5m]) ;; first_over_time(up[5m])
    """),
    *(
        f"{name}({what}[{span}])"
        for name in OVER_TIME
        for what in ("http_requests_total", "visits_total")
        for span in ("1m", "5m", "17m")
    ),
    *(
        f"{name}({what}[{span}])"
        for name in OVER_TIME
        for what in ("odd", "odd_walk", "visitors")
        for span in ("15s", "16s", "2m3s", "25m")
    ),
    *(
        f"{name}({what}[5m] offset 90s)"
        for name in OVER_TIME
        for what in ("wait_seconds_bucket", "visits_total", "duration_seconds")
    ),
    *(
        f"{name}(wait_seconds_bucket[{span}])"
        for name in ("rate", "increase", "resets", "last_over_time")
        for span in ("1m", "4m", "20m")
    ),
    *(f"quantile_over_time({share}, odd_walk[5m])" for share in (0, 0.5, 0.99, -1, 2, "NaN", "scalar(up)")),
    *(f"quantile_over_time({share}, queue_length[{span}])" for share in (0.1, 0.75) for span in ("15s", "5m")),
    *(
        f"predict_linear(temperature_celsius[{span}], {ahead})"
        for span in ("1m", "20m")
        for ahead in (0, 3600, -600, "NaN", "Inf", "4 * 3600")
    ),
)

SHARES: Final = (0, 0.01, 0.5, 0.9, 0.99, 1, -0.5, 1.5, "NaN", "scalar(vector(0.75))")

HISTOGRAMS: Final = (
    *listed(r"""
    histogram_quantile(0.9, sum by (le) (rate(wait_seconds_bucket[5m]))) ;;
    histogram_quantile(0.9, sum(rate(wait_seconds_bucket[5m]))) ;; histogram_quantile(0.5, up) ;;
    histogram_quantile(0.5, wait_seconds_bucket{le!="+Inf"}) ;;
    histogram_quantile(0.5, wait_seconds_bucket{le="+Inf"}) ;; histogram_quantile(0.5, -wait_seconds_bucket) ;;
    histogram_quantile(0.5, label_replace(wait_seconds_bucket, "le", "x", "le", "0.5")) ;;
    histogram_quantile(0.5, label_replace(wait_seconds_bucket, "le", "0.50", "le", "0.5")) ;;
    histogram_quantile(0.5, {__name__=~"wait_seconds_bucket|balance_bucket"}) ;;
    histogram_quantile(0.5, wait_seconds_bucket / 0) ;; histogram_quantile(0.5, wait_seconds_bucket * NaN) ;;
    histogram_quantile(0.2, wait_seconds_bucket{le!="0.5"}) ;; histogram_quantile(0.2, nothing_there) ;;
    histogram_quantile(0.2, wait_seconds_bucket * (1 + 1e-13)) ;;
    histogram_quantile(0.5, label_replace(wait_seconds_bucket, "le", "Inf", "le", "[+]Inf")) ;;
    histogram_quantile(0.5, sum by (__name__, le) ({__name__=~"wait_seconds_bucket|balance_bucket"})) ;;
    histogram_fraction(0, 0.2, rate(wait_seconds_bucket[10m])) ;; histogram_fraction(0, 1, wait_seconds_bucket) ;;
    histogram_avg(up) ;; histogram_count(up) ;; histogram_sum(up) ;; histogram_stddev(up) ;;
    (sum(rate(wait_seconds_bucket{le='0.5'}[5m])) + sum(rate(wait_seconds_bucket{le='1'}[5m]))) / 2 /
        sum(rate(wait_seconds_count[5m])) ;;
    rate(wait_seconds_sum[5m]) / rate(wait_seconds_count[5m]) ;;
    rate(duration_seconds_sum[5m]) / rate(duration_seconds_count[5m]) ;; max by (quantile) (duration_seconds)
    """),
    *(f"histogram_quantile({share}, wait_seconds_bucket)" for share in SHARES),
    *(
        f'histogram_quantile(0.5, label_replace(wait_seconds_bucket, "le", "{bound}", "le", "0.5"))'
        for bound in ("0x1p-1", "0X_1P-0_1", "0_1", "1__0", "\u0661", "1e400", "infinity", "0x1", "+.5e0", "0.5 ")
    ),
    *(f"histogram_quantile({share}, balance_bucket)" for share in SHARES),
    *(f"histogram_quantile({share}, rate(wait_seconds_bucket[10m]))" for share in SHARES),
    *(f"histogram_quantile({share}, sum by (job, le) (rate(wait_seconds_bucket[10m])))" for share in SHARES),
)

ALERTS: Final = (
    *listed(r"""
    node_filesystem_avail_bytes / node_filesystem_size_bytes * 100 < 5 and node_filesystem_readonly == 0 ;;
    predict_linear(node_filesystem_avail_bytes[20m], 24 * 3600) < 0 and node_filesystem_avail_bytes /
        node_filesystem_size_bytes < 0.15 ;;
    node_filesystem_files_free / node_filesystem_files < 0.05 ;;
    sum by (instance) (rate(node_cpu_seconds_total{mode!="idle"}[5m])) / on(instance) count by (instance) (count
        by (instance, cpu) (node_cpu_seconds_total)) ;;
    1 - avg without (cpu, mode) (rate(node_cpu_seconds_total{mode="idle"}[5m])) > 0.2 ;;
    node_load1 / on(instance) group_left count by (instance) (node_cpu_seconds_total{mode='idle'}) > 0.7 ;;
    rate(node_network_receive_errs_total[2m]) / rate(node_network_receive_packets_total[2m]) > 0.01 ;;
    (node_timex_offset_seconds > 0.05 and deriv(node_timex_offset_seconds[5m]) >= 0) or
        (node_timex_offset_seconds < -0.05 and deriv(node_timex_offset_seconds[5m]) <= 0) ;;
    min_over_time(node_timex_sync_status[5m]) == 0 ;; node_systemd_unit_state{state="failed"} == 1 ;;
    100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes) > 90 ;; probe_success == 0 ;;
    avg_over_time(probe_success[10m]) * 100 < 90 ;; probe_ssl_earliest_cert_expiry - time() < 86400 * 21 ;;
    probe_http_status_code <= 199 or probe_http_status_code >= 400 ;;
    avg_over_time(probe_duration_seconds[1m]) > 0.5 ;;
    redis_memory_used_bytes / redis_memory_max_bytes * 100 > 90 and redis_memory_max_bytes > 0 ;;
    increase(redis_rejected_connections_total[5m]) > 0 ;;
    rate(redis_keyspace_hits_total[5m]) / (rate(redis_keyspace_hits_total[5m]) +
        rate(redis_keyspace_misses_total[5m])) < 0.9 ;;
    sum by (instance) (pg_stat_activity_count) > on(instance) pg_settings_max_connections * 0.8 ;;
    sum by (datname, instance) (pg_stat_activity_count{datname!~"template.*"}) / on(instance) group_left max by
        (instance) (pg_settings_max_connections) ;;
    increase(pg_stat_database_deadlocks[10m]) > 5 ;; pg_replication_lag > 10 and on(instance) pg_up == 1 ;;
    absent(redis_up) or redis_up == 0
    """),
)

DOCUMENTED: Final = (
    *(LITERALS + SELECTORS + OPERATORS + AGGREGATIONS + EDGES),
    *(FUNCTIONS + RANGES + HISTOGRAMS + ALERTS),
)
