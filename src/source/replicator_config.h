/*
 * replicator_config.h
 *		What a replicator is told to do, and what its stream is to be.
 */
#ifndef FLO_REPLICATOR_CONFIG_H
#define FLO_REPLICATOR_CONFIG_H

#include "source/replicator_state.h"

/* Reads this group's row; false when it is gone */
extern bool flo_replicator_load_spec(Replicator *rep);

/* Take in what was committed: is there news of the configuration? */
extern bool flo_replicator_notice_configuration(Replicator *rep);

/* What the stream is to be */
extern FloStreamConfig flo_replicator_stream_config(Replicator *rep);
extern void flo_replicator_limit_early(Replicator *rep);

/* Just how much room stream and account have, to the publisher */
extern void flo_replicator_tell_room(Replicator *rep);

/* Something is waited for that a new process looks at anew */
pg_noreturn extern void flo_replicator_begin_anew(void);

/* To shared memory */
extern void flo_replicator_report(Replicator *rep);

#endif
