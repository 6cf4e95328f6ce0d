/*
 * row_writer.h
 *		Rows as messages of the logical replication protocol.
 */
#ifndef FLO_ROW_WRITER_H
#define FLO_ROW_WRITER_H

#include "access/tupdesc.h"
#include "lib/stringinfo.h"
#include "nodes/bitmapset.h"
#include "replication/reorderbuffer.h"
#include "utils/rel.h"

typedef struct FloRowWriter FloRowWriter;

/*
 * For rows of this shape, in binary or as text; "columns" as a publication lists
 * them, generated ones among them since 18; NULL for all that travel, "generated":
 * stored generated columns do.  In a context of its own below the current one.
 */
extern FloRowWriter *flo_row_writer_create(TupleDesc desc, const Bitmapset *columns,
										   bool generated, bool binary);
extern void flo_row_writer_free(FloRowWriter *writer);

/* How many columns it writes */
extern int	flo_row_writer_columns(const FloRowWriter *writer);

/* Does it know of types, or of functions, that a user can change? */
extern bool flo_row_writer_uses_user_types(const FloRowWriter *writer);

/*
 * Append the message of an INSERT, UPDATE or DELETE to "out".  The writer must be
 * of the relation as it is now.  As pgoutput does, in the reorder buffer's transaction;
 * but text and bytes that the server has compressed by one of "methods" (compressed.h)
 * stay so, and with any of these what it has tried to compress is marked.
 */
extern void flo_row_writer_change(FloRowWriter *writer, Relation relation,
								  ReorderBufferChange *change, int methods, StringInfo out);

/* The same for a row that was taken apart; what is stored out of line counts as unchanged */
extern void flo_row_writer_insert(FloRowWriter *writer, Relation relation, const Datum *values,
								  const bool *isnull, int methods, StringInfo out);

#endif
