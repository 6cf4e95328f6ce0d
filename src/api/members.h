/*
 * members.h
 *		What flo.create_replicator() is asked for, for others that look at it first.
 */
#ifndef FLO_API_MEMBERS_H
#define FLO_API_MEMBERS_H

#include "conf/choice.h"
#include "conf/spec.h"
#include "fmgr.h"
#include "utils/jsonb.h"

typedef struct FloReplicatorRequest
{
	bool		nameless;		/* it need not have a name */
	FloReplicatorSpec spec;
	FloTableOids choice;
	Jsonb	   *options;
} FloReplicatorRequest;

/*
 * The arguments of flo.create_replicator(), in its order; each function throws
 * what that would.
 */
extern void flo_replicator_arguments(FunctionCallInfo fcinfo, FloReplicatorRequest *request);

/* With "to_replicate" only tables that can be */
extern void flo_replicator_tables(FunctionCallInfo fcinfo, FloReplicatorRequest *request,
								  bool to_replicate);
extern void flo_replicator_check_exceptions(const FloTableOids *choice);

/* Nothing of the group's is here yet: replicator, slot, publication, worker that writes here */
extern void flo_replicator_check_new(const char *group);

#endif
