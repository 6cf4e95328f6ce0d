/*
 * event_tables.h
 *		What the sinks that send events need from the tables of schema flo, and
 *		the checks of their options.
 */
#ifndef FLO_EVENT_TABLES_H
#define FLO_EVENT_TABLES_H

#include "conf/spec.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* --- options ------------------------------------------------------------- */

/* Secrets among the options of create_worker() and alter_worker() */
typedef struct FloSecret
{
	const char *key;
	char	   *value;			/* NULL: to be removed */
} FloSecret;

typedef struct FloSecrets
{
	int			count;
	FloSecret	given[8];
} FloSecrets;

/* Take the secrets out of the options; returns these without them.  22023 for bad ones. */
extern Jsonb *flo_secrets_take(Jsonb *options, FloSinkKind sink, FloSecrets *secrets);

/*
 * Can the worker do with these options what it is to do, and may the role
 * have it done?  "secrets" is what the same call stores.
 */
extern void flo_event_tables_check(const FloWorkerSpec *spec, const FloSecrets *secrets, Oid role);

/* 55000 when a worker that is to be started could not do anything */
extern void flo_event_tables_check_start(const FloWorkerSpec *spec);

/* --- tables: need a transaction, allocate in the caller's context -------- */

extern void flo_secrets_save(const char *group, const char *worker, const FloSecrets *secrets);

/* NULL: none */
extern char *flo_secret_read(const char *group, const char *worker, const char *key);

/* A row of flo.webhook_subscriptions; NULL = any */
typedef struct FloSubscription
{
	char	   *url;
	char	   *schema;
	char	   *table;
	List	   *operations;		/* of char * */
	Oid			author;
} FloSubscription;

/* The enabled ones of a worker, List of FloSubscription * in the order of their ids */
extern List *flo_subscriptions(const char *group, const char *worker);

/* A row of flo.dead_letters */
typedef struct FloDeadLetter
{
	int64		id;				/* 0: new */
	char	   *url;
	char	   *event_id;
	char	   *event;			/* JSON text in UTF-8 */
	char	   *headers;		/* that go with it, "Name: value" in lines;
								 * NULL: none */
	XLogRecPtr	lsn;
	char	   *error;
	int			attempts;
	TimestampTz first_attempt;
	TimestampTz last_attempt;
} FloDeadLetter;

extern void flo_dead_letter_add(const char *group, const char *worker, const FloDeadLetter *letter);

/* The oldest letter that is to be sent again; NULL: none */
extern FloDeadLetter *flo_dead_letter_wanted(const char *group, const char *worker);

/* It was delivered, or failed again */
extern void flo_dead_letter_done(int64 id);
extern void flo_dead_letter_failed(int64 id, const char *error, int attempts);

#endif
