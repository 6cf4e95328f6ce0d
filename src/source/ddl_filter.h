/*
 * ddl_filter.h
 *		Which DDL statements concern a group.
 */
#ifndef FLO_DDL_FILTER_H
#define FLO_DDL_FILTER_H

#include "bus/bus.h"
#include "conf/spec.h"
#include "conf/store.h"
#include "nodes/pg_list.h"
#include "wire/message.h"

typedef struct FloDdlFilter FloDdlFilter;

extern FloDdlFilter *flo_ddl_filter_create(void);

/*
 * Put another configuration in force; needs a transaction.  Until then nothing
 * passes.
 */
extern void flo_ddl_filter_load(FloDdlFilter *filter, const FloReplicatorSpec *spec,
								const FloTableChoice *choice);

/* Tell destinations, once for each configuration, whose definitions travel; not in a transaction */
extern void flo_ddl_filter_announce(FloDdlFilter *filter, FloBus *bus, const char *bucket);

/*
 * Called with a message that a statement begins or ends, inside the decoder's
 * transaction: what is to be sent of it, in the current memory context, or NULL.
 */
extern char *flo_ddl_filter_apply(FloDdlFilter *filter, const FloMessage *message);

/* A transaction is over: statements of it that have not ended were rolled back */
extern void flo_ddl_filter_forget(FloDdlFilter *filter, TransactionId xid);

#endif
