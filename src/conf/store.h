/*
 * store.h
 *		Reads and writes the catalog tables of schema flo.
 *
 * Every function needs an open transaction and allocates in the caller's
 * memory context.  Reads see the tables as the extension's owner does, so the
 * caller's privileges and search_path do not matter.
 */
#ifndef FLO_STORE_H
#define FLO_STORE_H

#include "conf/spec.h"
#include "core/as_role.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* Is the extension installed in this database? */
extern bool flo_store_extension_exists(void);

/*
 * The version of the extension in this database, palloc'd, when this library is not
 * of that one; else, and where there is none, NULL.  Everything that reads tables
 * of schema flo is refused then (55000).
 */
extern char *flo_store_other_version(void);

/* For ereport(): that it is so, and what to do */
extern int	flo_store_version_problem(const char *version);

extern void flo_store_require_version(void);

/*
 * List of FloMemberSpec *, started or not: members whose configuration belongs
 * to this very database
 */
extern List *flo_store_members_here(void);

/* NULL when there is no such row */
extern FloReplicatorSpec *flo_store_replicator(const char *group);
extern FloWorkerSpec *flo_store_worker(const char *group, const char *worker);

/* NULL when no slot was ever recorded */
extern FloGeneration *flo_store_generation(const char *group);
extern void flo_store_save_generation(const char *group, const FloGeneration *generation);
extern void flo_store_save_epoch(const char *group, uint64 epoch);

/* Have the replicator begin a new generation; false when it never began one */
extern bool flo_store_request_resync(const char *group);

/* The copy that the generation began with is over */
extern void flo_store_generation_copied(const char *group);

/* Number of the next attempt to copy the group's tables; the first is 1 */
extern uint32 flo_store_next_copy_attempt(const char *group);

/* The newest one, 0 = there was none */
extern uint32 flo_store_copy_attempt(const char *group);

/*
 * The sequences that the tables of a replicator own or use, and where they
 * are, as a JSON object in UTF-8 that names the group.
 */
extern char *flo_store_sequence_values(const char *group);

/* Tables that are to be copied while the group runs */
typedef struct FloCopyRequest
{
	Oid			relation;
	bool		add;			/* it joins the publication then */
	uint32		number;			/* rises with each request of this database */
} FloCopyRequest;

extern List *flo_store_copy_requests(const char *group);	/* of FloCopyRequest * */

/* The same; none of them is withdrawn before the end of the transaction */
extern List *flo_store_lock_copy_requests(const char *group);
extern bool flo_store_copy_of_all_requested(const char *group);

/* OIDs of the tables in the group's publications, as they travel */
extern List *flo_store_published(const char *group);

/*
 * Ask for a copy, and tell the destinations, in order with the changes of the
 * transaction, that they owe it from here on.
 */
typedef enum FloCopyAsked
{
	FLO_REQUEST_ADD,			/* the table joins with its copy */
	FLO_REQUEST_ANEW,			/* of a table that is there */

	/*
	 * and changes of it are not to be applied from here on until the copy is
	 * in:
	 */
	FLO_REQUEST_ADD_FROM_HERE,	/* destinations have no rows of it */
	FLO_REQUEST_ANEW_FROM_HERE	/* they may have some */
} FloCopyAsked;

extern void flo_store_request_copy(const char *group, Oid relation, FloCopyAsked asked);
extern void flo_store_request_copy_of_all(const char *group);

/* There will be none, so nobody owes it any more; false when there was no request */
extern bool flo_store_withdraw_copy(const char *group, Oid relation);

/* Fulfilled; one that was made again meanwhile stays */
extern void flo_store_copy_request_done(const char *group, const FloCopyRequest *request);

extern void flo_store_save_copy_attempt(const char *group, const char *worker, uint32 attempt);

/* How far the copy of a table has got at the source, for flo.copy_progress */
typedef struct FloCopyProgress
{
	Oid			relation;
	uint32		attempt;
	XLogRecPtr	lsn;
	int64		bytes;
	int64		bytes_done;
	int64		tuples_done;
	bool		finished;
} FloCopyProgress;

extern void flo_store_copy_progress(const char *group, const FloCopyProgress *progress);

/* The member is not to run any more: what stop_group() does */
extern void flo_store_stop_member(const char *group, const char *member);

/* Row of flo.progress: which source a worker follows; "lsn" only for sinks without an origin */
typedef struct FloProgressRow
{
	uint64		system_identifier;
	pg_uuid_t	generation;
	XLogRecPtr	generation_start;
	XLogRecPtr	start_lsn;		/* where this worker began: nothing at or
								 * below it is its business */
	XLogRecPtr	lsn;			/* durable position, InvalidXLogRecPtr for the
								 * postgres sink */
	XLogRecPtr	skip_lsn;		/* commit LSN of a transaction to be skipped,
								 * InvalidXLogRecPtr: none */
	char	   *sink_state;		/* what the sink saved with it, NULL: nothing */
	bool		copying;		/* the copy that the generation begins with is
								 * not in yet */
	uint32		copy_attempt;	/* of the newest marker whose tables are in */
} FloProgressRow;

/*
 * The LSN up to which all rows of the source are at the worker's destination,
 * however far its position is, because copies of tables are still to come;
 * *at is since when.
 */
#define FLO_OWES_NOTHING PG_UINT64_MAX
extern XLogRecPtr flo_store_owed_since(const char *group, const char *worker, TimestampTz *at);

extern FloProgressRow *flo_store_progress(const char *group, const char *worker);
extern void flo_store_save_progress(const char *group, const char *worker,
									const FloProgressRow *row);

/* Note a transaction to be skipped, InvalidXLogRecPtr for none; false without a row */
extern bool flo_store_save_skip(const char *group, const char *worker, XLogRecPtr lsn);

/* The same row further on; false when it is gone */
extern bool flo_store_move_progress(const char *group, const char *worker, XLogRecPtr lsn,
									const char *sink_state);
extern void flo_store_save_sink_state(const char *group, const char *worker,
									  const char *sink_state);

/*
 * Run the calls in between as the owner of the extension (to write tables of
 * schema flo), search_path pinned.  flo_store_leave() restores; an abort does so too.
 */
extern void flo_store_enter(FloAsRole *as);
extern void flo_store_leave(const FloAsRole *as);

/* OID of a table of schema flo, InvalidOid when it is not there */
extern Oid	flo_store_table(const char *name);

/* Has the table any row?  Reads it directly, cheaper than a query and without SPI. */
extern bool flo_store_has_rows(Oid relation);

/* --- for the SQL functions ----------------------------------------------- */

/* Is there a row of flo.groups; does it belong to this very database? */
extern bool flo_store_group_exists(const char *group, bool *ours);

/*
 * Make the row of flo.groups this database's.  One that came from elsewhere
 * (a dump, a template) stops all its members and forgets what it knows of a
 * slot or a source; returns whether that was so.
 */
extern bool flo_store_adopt_group(const char *group);

/* List of FloMemberSpec *, started or not, of one group (NULL: of all groups) */
extern List *flo_store_members(const char *group);

/* Role that owns a member, which may have been dropped; *found tells whether the member exists */
extern Oid	flo_store_member_owner(const char *group, const char *member, bool *found);

/*
 * One of the tables or schemas that a group was told of: the object, or once it
 * is dropped its name.  See choice.h.
 */
typedef struct FloChosen
{
	Oid			object;			/* InvalidOid: only a name, or restored from
								 * elsewhere */
	char	   *name;			/* when last seen; of a table quoted and
								 * qualified */
	bool		former;			/* what a table left out was called before, or
								 * one that is replaced */
} FloChosen;

/* How a replicator's tables are chosen */
typedef struct FloTableChoice
{
	char	   *group;
	List	   *tables;			/* these three of FloChosen * */
	List	   *schemas;
	List	   *except_tables;
	bool		all;			/* neither tables nor schemas: everything */
} FloTableChoice;

/* NULL when there is no such replicator */
extern FloTableChoice *flo_store_table_choice(const char *group);

/*
 * Tables, with their partitions, that destinations know without a statement;
 * "anew": and no others
 */
extern void flo_store_note_first_tables(const char *group, const List *relations, bool anew);
extern List *flo_store_first_tables(const char *group); /* of FloChosen * */

/*
 * One entry: added, or (as it was read) called otherwise, out of use, or removed; kind
 * as in flo.chosen
 */
extern void flo_store_add_chosen(const char *group, const char *kind, const FloChosen *chosen);
extern void flo_store_rename_chosen(const char *group, const char *kind, const FloChosen *chosen,
									const char *name);
extern void flo_store_retire_chosen(const char *group, const char *kind, const FloChosen *chosen);
extern void flo_store_remove_chosen(const char *group, const char *kind, const FloChosen *chosen);

/* With its tables; "choice" is of the same group */
extern void flo_store_insert_replicator(const FloReplicatorSpec *spec, const FloTableChoice *choice,
										Jsonb *options);
extern void flo_store_insert_worker(const FloWorkerSpec *spec, Jsonb *options);

/* The options as stored; NULL when there is no such member */
extern Jsonb *flo_store_options(const char *group, const char *member);
extern void flo_store_save_options(const char *group, const char *member, Jsonb *options);

/* Start or stop one member or (NULL) all of the group here; number of members it has */
extern int	flo_store_set_started(const char *group, const char *member, bool started);

/* Rules and routes that have gone, or are left */
typedef struct FloRulesCount
{
	uint64		rules;
	uint64		routes;
} FloRulesCount;

/*
 * Remove all rows of a member or group, its progress and its runtime state.  What
 * people have written for a group stays unless "with_rules"; what they have written
 * for one worker goes with it.
 */
extern void flo_store_delete_replicator(const char *group);
extern void flo_store_delete_worker(const char *group, const char *worker, FloRulesCount *gone);
extern void flo_store_delete_group(const char *group, bool with_rules, FloRulesCount *count);

/*
 * Remove a few of the oldest rows of the group's history (DDL, dead letters) that
 * the settings keep no longer; true when there may be more.
 */
extern bool flo_store_prune_history(const char *group);

/* What has happened to members of this database, up to that number, goes to flo.event_log */
extern void flo_store_write_events(int64 newest);

/*
 * Tables of a group that are left out because changes of them do not say which
 * rows they change.  False when it was known already.
 */
extern List *flo_store_astray(const char *group);	/* OIDs */
extern bool flo_store_lost(const char *group, Oid relation);
extern bool flo_store_found(const char *group, Oid relation);

/* Tables whose replica identity was set to FULL for a group, and what it was before */
typedef struct FloFullIdentity
{
	Oid			relation;
	char		before;			/* REPLICA_IDENTITY_* */
} FloFullIdentity;

extern List *flo_store_full_identities(const char *group);
extern void flo_store_add_full_identity(const char *group, Oid relation, char before);
extern void flo_store_remove_full_identity(const char *group, Oid relation);

#endif
