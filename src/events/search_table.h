/*
 * search_table.h
 *		A table as a search index has it: names, fields, and what a row becomes.
 */
#ifndef FLO_SEARCH_TABLE_H
#define FLO_SEARCH_TABLE_H

#include "events/event.h"
#include "events/template.h"

/* Longest _id, in bytes; longer ones become hashes */
#define FLO_SEARCH_ID_MAX 512

/* All text is in UTF-8 */
typedef struct FloSearchTable
{
	uint32		relation;		/* hash key: at the source */
	uint64		version;		/* of the FloRelation; 0 = not described */
	bool		prepared;		/* its index is there, with all fields */
	MemoryContext context;
	char	   *index;			/* what requests name */
	char	   *owner;			/* "schema.table", quoted, as the index is
								 * marked */
	int			natts;
	char	  **fields;			/* names with quotes */
	char	  **mappings;		/* JSON */
	bool	   *vectors;
	bool	   *in_id;

	/* for messages: at the source */
	char	   *schema;
	char	   *table;
} FloSearchTable;

/* Tokens that option index may have */
#define FLO_SEARCH_TOKENS (FLO_TOKEN_BIT(FLO_TOKEN_GROUP) | FLO_TOKEN_BIT(FLO_TOKEN_SCHEMA) | \
						   FLO_TOKEN_BIT(FLO_TOKEN_TABLE))

/* Option index; 22023 when no index could be called so */
extern FloTemplate *flo_search_template(const char *text);

/* The name of a table's index, palloc'd; 54000 when it is too long */
extern char *flo_search_index_name(FloEventWriter *writer, const FloTemplate *template,
								   const char *group, const char *schema, const char *table);

/* How an index is marked as a table's, palloc'd: what is between the quotes of a JSON string */
extern char *flo_search_owner(FloEventWriter *writer, const char *schema, const char *table);

/*
 * Describe it, in its own context, but for "index".  55000 when there is nothing that
 * tells one row from another.  "flattened" as in search_mapping.h.
 */
extern void flo_search_describe(FloSearchTable *table, FloEventWriter *writer,
								const FloRelation *relation, const FloWorkerOptions *options,
								const char *flattened);

/* Append the _id of a row: its text */
extern void flo_search_append_id(const FloSearchTable *table, FloEventWriter *writer,
								 StringInfo out, const FloChange *change, bool old);

/*
 * Append the document of the new row.  Columns whose values were not sent are left
 * out and listed in "missing", if any: of char *, names of fields that belong to
 * the table.
 */
extern void flo_search_append_document(const FloSearchTable *table, FloEventWriter *writer,
									   StringInfo out, const FloChange *change, List **missing);

/*
 * The version of what a change makes: see doc/events-search.md.  54000 when the source
 * has written more WAL than a version can tell.
 */
extern int64 flo_search_version(const FloTransaction *txn);

#endif
