/*
 * receive.h
 *		The worker's side of taking in a copy.
 */
#ifndef FLO_RECEIVE_H
#define FLO_RECEIVE_H

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
	List	   *keys;			/* of FloCopyKey *: tables of a marker; NIL = the copy that the generation begins with */

	/*
	 * Called now and then; false: leave it.  "lacking" is a table chunks of
	 * which are lost, NULL while none is known to.
	 */
	bool		(*turn) (void *arg, const FloCopyKey *lacking);
	void	   *arg;
} FloReception;

/*
 * Have loaders take it in; true when all of it is durable, false when it cannot
 * be had any more.
 */
extern bool flo_copy_receive(const FloReception *what);

#endif
