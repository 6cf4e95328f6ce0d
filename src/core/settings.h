/*
 * settings.h
 *		The pg_flo.* configuration parameters, all defined in settings.c.
 */
#ifndef FLO_SETTINGS_H
#define FLO_SETTINGS_H

/* processes */
extern bool flo_enabled;
extern int	flo_max_workers;
extern int	flo_restart_interval;	/* ms: longest pause between two starts of
									 * a member */

/* broker: where and as whom */
extern char *flo_nats_url;
extern char *flo_nats_user;
extern char *flo_nats_password;
extern char *flo_nats_password_file;
extern char *flo_nats_token;
extern char *flo_nats_credentials_file;
extern char *flo_nats_nkey;
extern char *flo_nats_nkey_file;
extern bool flo_nats_tls;
extern char *flo_nats_tls_ca_file;
extern char *flo_nats_tls_cert_file;
extern char *flo_nats_tls_key_file;
extern char *flo_nats_inbox_prefix;

/* Longest prefix, with its terminator: the rest of a subject is 23 bytes and a number */
#define FLO_NATS_INBOX_PREFIX_SIZE 33

/* processes' memory */
extern int	flo_table_memory;	/* kB, of what a process remembers of tables */

/* who writes rows at the source; for tests, not shown */
typedef enum FloRowWriterMode
{
	FLO_ROW_WRITER_OFF,			/* pgoutput */
	FLO_ROW_WRITER_ON,			/* row_writer.c what it can */
	FLO_ROW_WRITER_CHECK		/* both, and they are compared */
} FloRowWriterMode;

extern int	flo_row_writer;

/* rules */
extern int	flo_rule_budget;	/* ms, of all rules of one row */

/* stream */
extern int	flo_stream_replicas;
extern int	flo_stream_max_age; /* s, 0 = unlimited */
extern int	flo_stream_max_bytes;	/* MB, 0 = the broker's own limit */
extern int	flo_broker_sync_interval;	/* s */
extern int	flo_heartbeat_interval; /* ms */
extern int	flo_restart_distance;	/* MB */

/* history: minutes, 0 = for ever */
extern int	flo_ddl_log_keep;
extern int	flo_dead_letters_keep;
extern int	flo_events_keep;

/* webhooks */
extern char *flo_webhook_allow;

/* Kafka */
extern char *flo_kafka_allow;

/* copy of table definitions */
extern char *flo_schema_dump_conninfo;
extern char *flo_pg_dump_path;

/* Define all of them; called from _PG_init only */
extern void flo_settings_define(void);

#endif
