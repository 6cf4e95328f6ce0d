/*
 * copy_empty.h
 *		Empties a table before it is copied into.
 */
#ifndef FLO_COPY_EMPTY_H
#define FLO_COPY_EMPTY_H

#include "conf/spec.h"
#include "sink/sink.h"
#include "wire/change.h"

/*
 * As whom rows are put into the table, and taken away, whether one comes of the copy or
 * none.  "relation" is what it is called; 42501 when the worker's owner may not.
 */
extern Oid	flo_copy_writer(const FloWorkerSpec *spec, const FloRelation *relation, Oid relid);

/* In a transaction, with the rights of flo_copy_writer() */
extern void flo_copy_empty_table(const FloWorkerSpec *spec, FloSink *sink,
								 const FloRelation *relation, Oid relid);

#endif
