/*
 * ddl_gone.h
 *		What a DDL statement is to drop and is not here.
 */
#ifndef FLO_DDL_GONE_H
#define FLO_DDL_GONE_H

#include "conf/ddl.h"
#include "lib/stringinfo.h"
#include "nodes/nodes.h"
#include "wire/ddl.h"

/*
 * Takes out of the statement what it is to drop and was never brought here, and
 * tells it in "note"; sets *nothing when nothing else is left.  Returns why it
 * should be held instead: it was made here, and is gone or has another name.
 * "decided": a person says that this does not matter.  Names must be mapped.
 */
extern char *flo_ddl_gone(const FloDdlPlace *place, const FloDdlStatement *ddl, Node *statement,
						  bool decided, StringInfo note, bool *nothing);

/*
 * The same for what is dropped outside a transaction, where it may have been
 * this very statement that was run and not noted.  Is nothing left?  Then
 * *outcome says why.
 */
extern bool flo_ddl_gone_since(const FloDdlPlace *place, const FloDdlStatement *ddl,
							   Node *statement, StringInfo note, const char **outcome);

#endif
