/*
 * definition.h
 *		What a table looks like, as JSON.
 */
#ifndef FLO_DEFINITION_H
#define FLO_DEFINITION_H

#include "lib/stringinfo.h"
#include "utils/relcache.h"

/*
 * Append what flo.table_schema() shows of an open relation, locked or not.  How
 * names are qualified and constants written depends on search_path and settings.
 */
extern void flo_definition_append(StringInfo out, Relation relation);

#endif
