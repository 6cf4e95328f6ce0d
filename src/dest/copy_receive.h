/*
 * copy_receive.h
 *		The worker's side of taking in a copy.
 */
#ifndef FLO_COPY_RECEIVE_H
#define FLO_COPY_RECEIVE_H

#include "bus/bus.h"
#include "conf/spec.h"
#include "nodes/pg_list.h"
#include "utils/uuid.h"
#include "wire/chunk.h"

/* What is to be taken in, and for whom */
typedef struct FloReception
{
	FloBus	   *bus;
	const FloWorkerSpec *spec;
	const char *consumer;
	const char *generation;		/* as text */
	const pg_uuid_t *generation_id;
	List	   *keys;			/* of FloCopyKey *: tables of a marker; NIL =
								 * the copy that the generation begins with */
	bool		backfill;		/* the table is the one of a backfill, in the
								 * stream of these */
	XLogRecPtr	position;		/* where the stream is */
	uint32		attempt;		/* the snapshot whose rows fit where the
								 * stream is; 0 = any */

	/*
	 * Called now and then; false: leave it.  "missing_chunks" is a table of
	 * whose chunks some are lost, NULL while none is known.
	 */
	bool		(*proceed) (void *arg, const FloCopyKey *missing_chunks);

	/* Hear the source, and count its words: more are reason to look */
	uint64		(*words) (void *arg);

	/* What is wrong at the source, palloc'd; NULL when nothing is known to be */
	char	   *(*trouble) (void *arg);
	void	   *arg;
} FloReception;

/*
 * Have loaders take it in; true when all of it is durable, false when it cannot
 * be had any more, also because the source has begun another snapshot.  Tables
 * that come later, with a marker, are noted as expected.
 */
extern bool flo_copy_receive(const FloReception *what);

/* The newest snapshot that the source copies; 0 = none is known */
extern uint32 flo_copy_newest(FloBus *bus, const char *group, const char *generation);

#endif
