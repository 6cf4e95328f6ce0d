/*
 * sink_list.h
 *		The kinds of sinks that there are: all that has to be said of a new one,
 *		but for its options and its code.
 *
 * No guard: who includes it defines FLO_SINK(), as with the server's rmgrlist.h.
 * In each line the kind, its name in SQL, and its implementation.
 */
FLO_SINK(FLO_SINK_POSTGRES, "postgres", flo_sink_postgres)
FLO_SINK(FLO_SINK_FILE, "file", flo_sink_file)
FLO_SINK(FLO_SINK_STDOUT, "stdout", flo_sink_stdout)
FLO_SINK(FLO_SINK_WEBHOOK, "webhook", flo_sink_webhook)
FLO_SINK(FLO_SINK_NATS, "nats", flo_sink_nats)
FLO_SINK(FLO_SINK_KAFKA, "kafka", flo_sink_kafka)
FLO_SINK(FLO_SINK_SEARCH, "search", flo_sink_search)
