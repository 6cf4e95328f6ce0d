/*
 * json_type.h
 *		How values of a column are written as JSON: what kind of type it is, and what
 *		is needed of the catalogs for that, looked up once.
 */
#ifndef FLO_JSON_TYPE_H
#define FLO_JSON_TYPE_H

#include "fmgr.h"
#include "wire/change.h"

typedef enum JsonKind
{
	KIND_UNKNOWN,				/* no such type here */
	KIND_TEXT,					/* the binary form is the text */
	KIND_OTHER,					/* a string, by receive and output function */
	KIND_NUMBER_ALIAS,			/* reg*: the binary form is an OID of the
								 * source */
	KIND_BYTEA,
	KIND_BOOL,
	KIND_INTEGER,				/* the size follows from the length */
	KIND_FLOAT4,
	KIND_FLOAT8,
	KIND_NUMERIC,
	KIND_DATE,
	KIND_TIMESTAMP,
	KIND_TIMESTAMPTZ,
	KIND_JSON,
	KIND_JSONB,
	KIND_ARRAY,
	KIND_ROW
} JsonKind;

typedef struct FloJsonType FloJsonType;

struct FloJsonType
{
	JsonKind	kind;
	bool		needs_catalog;

	/* KIND_OTHER */
	bool		has_binary;
	FmgrInfo	receive;
	Oid			receive_param;
	FmgrInfo	output;

	/* KIND_ARRAY */
	FloJsonType *element;
	char		delimiter;

	/* KIND_ROW */
	int			nfields;
	char	  **keys;			/* "name": with quotes and colon */
	FloJsonType **fields;
};

/*
 * How values of a source column are written.  Needs a transaction; the result
 * lives in "context".  Types of the source's users are looked up here by
 * their name; where there is none of that name, values become strings.
 */
extern FloJsonType *flo_json_type(const FloColumn *column, MemoryContext context);

/* The type here that the column's stands for; needs a transaction.  InvalidOid: there is none */
extern Oid	flo_json_local_type(const FloColumn *column);

/*
 * Can values in binary form only be written with the catalogs at hand, i.e.
 * within a transaction?
 */
extern bool flo_json_needs_catalog(const FloJsonType *type);

#endif
