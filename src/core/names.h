/*
 * names.h
 *		Every name pg_flo derives from a group or worker name.
 *
 * All functions allocate in the caller's memory context.  None of them can
 * fail for a name accepted by flo_name_is_valid(), and two different groups
 * or workers never share a derived name.
 */
#ifndef FLO_NAMES_H
#define FLO_NAMES_H

/* As in pg_flo.control: the version of the extension that this library works with */
#define FLO_VERSION "0.2"

/* Longest group or worker name, without the terminating zero */
#define FLO_NAME_MAX 40
#define FLO_NAME_BUF (FLO_NAME_MAX + 1)

/* A consumer name: pgflo_<group>_<worker>_<16 hex digits> */
#define FLO_CONSUMER_BUF 128

/* The member name of a group's source side; no worker may be called so */
#define FLO_REPLICATOR_MEMBER "replicator"

/* ^[a-z][a-z0-9_]{0,39}$ */
extern bool flo_name_is_valid(const char *name);

/* Characters of our own consumers' names; anything else may mean something to NATS */
extern bool flo_name_is_consumer(const char *name);

/* Raise 22023 with a hint unless the name is one a group / worker may have */
extern void flo_name_check_group(const char *name);
extern void flo_name_check_worker(const char *name);

/* JetStream */
extern char *flo_name_stream(const char *group);
extern char *flo_name_subject(const char *group);
extern char *flo_name_copy_stream(const char *group);
extern char *flo_name_backfill_stream(const char *group);
extern char *flo_name_compare_stream(const char *group);
extern char *flo_name_bucket(const char *group);
extern char *flo_name_consumer(const char *group, const char *worker,
							   uint64 system_identifier, Oid database);

/* PostgreSQL, this database */
extern char *flo_name_publication(const char *group);
extern char *flo_name_insert_publication(const char *group);
extern char *flo_name_slot(Oid database, const char *group);
extern char *flo_name_origin(Oid database, const char *group, const char *worker);

/* The database in the name of one of our origins, InvalidOid for other origins */
extern Oid	flo_name_database_of_origin(const char *origin);

#endif
