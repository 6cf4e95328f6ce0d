/*
 * preview_columns.h
 *		Which columns of a table rules and routes are about, and what a source
 *		sends of an old row, for flo.preview().
 */
#ifndef FLO_PREVIEW_COLUMNS_H
#define FLO_PREVIEW_COLUMNS_H

#include "shape/spec.h"
#include "wire/change.h"

/* Names, each once, of those that rules or the table's route name: List of char * */
extern List *flo_preview_named(const FloShapeSpec *spec, const char *schema, const char *table);

/*
 * Say with a NOTICE what has been assumed of columns that are in no row.  "known":
 * the table is in this database.
 */
extern void flo_preview_tell_assumed(const FloRelation *relation, const List *assumed, FloOp op,
									 bool known);

/*
 * Say what of an old row the source would send otherwise: "given" are its columns,
 * NULL = there is no old row.
 */
extern void flo_preview_tell_identity(const FloRelation *relation, const List *given, bool has_old);

#endif
