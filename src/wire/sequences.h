/*
 * sequences.h
 *		Where sequences of a source are: payload of a message of pg_flo's, and a
 *		text in the state bucket.
 */
#ifndef FLO_WIRE_SEQUENCES_H
#define FLO_WIRE_SEQUENCES_H

#include "nodes/pg_list.h"

typedef struct FloSequenceTable
{
	char	   *schema;
	char	   *name;
} FloSequenceTable;

typedef struct FloSequence
{
	char	   *schema;
	char	   *name;
	int64		last_value;
	bool		is_called;
	List	   *tables;			/* of FloSequenceTable *: that own it or use
								 * it in a default */
} FloSequence;

/*
 * The document in UTF-8, from the list as flo.sequence_values() gives it.  Needs a
 * transaction in a database of another encoding.
 */
extern char *flo_sequences_format(const char *group, const char *list);

/*
 * List of FloSequence *, names in the server's encoding.  Throws 08P01 for
 * anything else than values for the group; "what" is what the error calls it.
 */
extern List *flo_sequences_parse(const char *what, const char *group, const char *json, size_t len);

#endif
