/*
 * compat_name.h
 *		Names, collations, values as text and JSON.
 *
 * See compat.h.
 */
#ifndef FLO_COMPAT_NAME_H
#define FLO_COMPAT_NAME_H

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_database.h"
#include "common/jsonapi.h"
#include "core/compat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/nodes.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/pg_lsn.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#if PG_VERSION_NUM >= 190000
#include "nodes/miscnodes.h"
#endif

/* Is the text, which is in the server's encoding, JSON as far as its syntax goes? */
static inline bool
flo_compat_is_json(const char *text, int len)
{
	JsonLexContext *lex;
	bool		result;

#if PG_VERSION_NUM >= 170000
	lex = makeJsonLexContextCstringLen(NULL, text, len, GetDatabaseEncoding(), false);
	result = pg_parse_json(lex, &nullSemAction) == JSON_SUCCESS;
	freeJsonLexContext(lex);
#else
	lex = makeJsonLexContextCstringLen(unconstify(char *, text), len, GetDatabaseEncoding(), false);
	result = pg_parse_json(lex, &nullSemAction) == JSON_SUCCESS;
	pfree(lex);
#endif
	return result;
}

/* An LSN as people write it; false, and an invalid one, when it is none */
static inline bool
flo_compat_parse_lsn(const char *text, XLogRecPtr *lsn)
{
#if PG_VERSION_NUM >= 190000
	ErrorSaveContext escontext = {T_ErrorSaveContext};

	*lsn = pg_lsn_in_safe(text, (Node *) &escontext);
	return !escontext.error_occurred;
#else
	bool		bad = false;

	*lsn = pg_lsn_in_internal(text, &bad);
	return !bad;
#endif
}

/* A value of jsonb in the making, begun as {0}; its result is there at the end */
#if PG_VERSION_NUM >= 190000
typedef JsonbInState FloJsonb;
#else
typedef struct FloJsonb
{
	JsonbValue *result;
	JsonbParseState *state;
} FloJsonb;
#endif

static inline void
flo_compat_push_jsonb(FloJsonb *json, JsonbIteratorToken token, JsonbValue *value)
{
#if PG_VERSION_NUM >= 190000
	pushJsonbValue(json, token, value);
#else
	json->result = pushJsonbValue(&json->state, token, value);
#endif
}

/* Functions and operators of a name, whatever their arguments */
static inline FuncCandidateList
flo_compat_functions_named(List *names)
{
#if PG_VERSION_NUM >= 190000
	int			found;

	return FuncnameGetCandidates(names, -1, NIL, false, false, false, true, &found);
#else
	return FuncnameGetCandidates(names, -1, NIL, false, false, false, true);
#endif
}

static inline FuncCandidateList
flo_compat_operators_named(List *names)
{
#if PG_VERSION_NUM >= 190000
	int			found;

	return OpernameGetCandidates(names, '\0', true, &found);
#else
	return OpernameGetCandidates(names, '\0', true);
#endif
}

/* A qualified name as people write it, in its parts */
static inline List *
flo_compat_qualified_names(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return stringToQualifiedNameList(name, NULL);
#else
	return stringToQualifiedNameList(name);
#endif
}

/* The locale's attribute of a provider other than libc */
#if PG_VERSION_NUM >= 170000
#define FLO_COLLATION_LOCALE Anum_pg_collation_colllocale
#define FLO_DATABASE_LOCALE Anum_pg_database_datlocale
#else
#define FLO_COLLATION_LOCALE Anum_pg_collation_colliculocale
#define FLO_DATABASE_LOCALE Anum_pg_database_daticulocale
#endif

/*
 * Provider and locale of a collation, or of the database's own (invalid); NULL
 * when they do not say all: rules were added.
 */
static inline char *
flo_compat_collation_locale(Oid collation)
{
	bool		own = !OidIsValid(collation);
	int			cache = own ? DATABASEOID : COLLOID;
	HeapTuple	tuple = SearchSysCache1(cache, ObjectIdGetDatum(own ? MyDatabaseId : collation));
	char		provider;
	Datum		locale;
	bool		isnull;
	char	   *result = NULL;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	provider = own ? ((Form_pg_database) GETSTRUCT(tuple))->datlocprovider :
		((Form_pg_collation) GETSTRUCT(tuple))->collprovider;
	if (provider == COLLPROVIDER_LIBC)
		locale = SysCacheGetAttr(cache, tuple, own ? Anum_pg_database_datcollate :
								 Anum_pg_collation_collcollate, &isnull);
	else
		locale = SysCacheGetAttr(cache, tuple, own ? FLO_DATABASE_LOCALE : FLO_COLLATION_LOCALE,
								 &isnull);
	if (!isnull)
		result = psprintf("%c %s", provider, TextDatumGetCString(locale));
#if PG_VERSION_NUM >= 160000
	(void) SysCacheGetAttr(cache, tuple, own ? Anum_pg_database_daticurules :
						   Anum_pg_collation_collicurules, &isnull);
	if (!isnull)
		result = NULL;
#endif
	ReleaseSysCache(tuple);
	return result;
}

#endif
