/*
 * fitting.c
 *		Does what a rule makes of a column fit where it goes?
 *
 * Asked of the table here: the destination's, or where the replicator executes the
 * rule the source's, which the destination's is mostly like.  A domain's checks
 * cannot be read, so they are tried with some values of the kind.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "nodes/bitmapset.h"
#include "nodes/nodes.h"
#include "optimizer/optimizer.h"
#include "shape/fitting.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#define TRIED_VALUES 200

typedef struct Place
{
	AttrNumber	number;			/* 0: there is none */
	Oid			type;
	int32		typmod;
	bool		generated;
} Place;

/* The column's name in the local table; NULL: it does not go there */
static const char *
local_name(const FloShapeColumns *columns, const char *name)
{
	for (int i = 0; columns->route != NULL && i < columns->route->nmappings; i++)
		if (strcmp(columns->route->mappings[i].source, name) == 0)
			return columns->route->mappings[i].destination;
	return name;
}

static Place
find_place(const FloShapeColumns *columns, const char *name)
{
	Place		place = {0};
	HeapTuple	tuple;

	name = local_name(columns, name);
	if (name == NULL || !OidIsValid(columns->local))
		return place;
	tuple = SearchSysCacheAttName(columns->local, name);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_attribute att = (Form_pg_attribute) GETSTRUCT(tuple);

		place.number = att->attnum;
		place.type = att->atttypid;
		place.typmod = att->atttypmod;
		place.generated = att->attgenerated != '\0';
		ReleaseSysCache(tuple);
	}
	return place;
}

bool
flo_fitting_is_generated(const FloShapeColumns *columns, const char *name)
{
	return find_place(columns, name).generated;
}

bool
flo_fitting_is_domain(const FloShapeColumns *columns, const FloShapeColumn *column)
{
	Place		place = find_place(columns, column->name);

	return place.number > 0 && get_typtype(place.type) == TYPTYPE_DOMAIN;
}

/* --- unique indexes ------------------------------------------------------ */

/* As lower(email) has "email" */
static bool
expressions_have(HeapTuple index, AttrNumber column)
{
	bool		isnull;
	Datum		stored = SysCacheGetAttr(INDEXRELID, index, Anum_pg_index_indexprs, &isnull);
	Bitmapset  *columns = NULL;

	if (isnull)
		return false;
	pull_varattnos(stringToNode(TextDatumGetCString(stored)), 1, &columns);
	return bms_is_member(column - FirstLowInvalidHeapAttributeNumber, columns);
}

static bool
index_has_key(Oid index, AttrNumber column)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	Form_pg_index form;
	bool		found = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_index) GETSTRUCT(tuple);
	for (int i = 0; form->indisunique && i < form->indnkeyatts && !found; i++)
		found = form->indkey.values[i] == column;
	if (form->indisunique && !found)
		found = expressions_have(tuple, column);
	ReleaseSysCache(tuple);
	return found;
}

void
flo_fitting_check_unique(const FloShapeColumns *columns, const FloShapeColumn *column,
						 const char *what)
{
	Place		place = find_place(columns, column->name);
	Relation	rel = place.number > 0 ? try_relation_open(columns->local, AccessShareLock) : NULL;
	Oid			unique = InvalidOid;
	ListCell   *lc;

	if (rel == NULL)
		return;
	if (rel->rd_rel->relhasindex)
		foreach(lc, RelationGetIndexList(rel))
			if (index_has_key(lfirst_oid(lc), place.number))
			unique = lfirst_oid(lc);
	relation_close(rel, AccessShareLock);
	if (OidIsValid(unique))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is the same for many values, and column \"%s\" is in the unique index \"%s\"",
						what, column->name, get_rel_name(unique)),
				 errhint("Use a kind that keeps different values different, or allow_duplicates where the index makes no difference.")));
}

/* --- types --------------------------------------------------------------- */

static int
fits_of_type(Oid type)
{
	char		category;
	bool		preferred;

	switch (type)
	{
		case INT2OID:
			return FLO_FITS_RANGE;
		case INT4OID:
			return FLO_FITS_INT4;
		case INT8OID:
		case NUMERICOID:
			return FLO_FITS_INT8;
		case UUIDOID:
			return FLO_FITS_UUID;
		case INETOID:
			return FLO_FITS_INET;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return FLO_FITS_DATE;
		default:
			get_type_category_preferred(type, &category, &preferred);
			return category == TYPCATEGORY_STRING ? FLO_FITS_STRING : 0;
	}
}

static bool
range_fits(const FloPseudonym *pseudonym, Oid type)
{
	switch (type)
	{
		case INT2OID:
			return pseudonym->min >= PG_INT16_MIN && pseudonym->max <= PG_INT16_MAX;
		case INT4OID:
			return pseudonym->min >= PG_INT32_MIN && pseudonym->max <= PG_INT32_MAX;
		default:
			return true;
	}
}

static void
check_type(const FloPseudonym *pseudonym, const char *column, Oid type)
{
	int			fits = pseudonym->kind->fits;
	int			taken = fits_of_type(type);

	/* integers of any size, as long as the range is theirs */
	if ((fits & FLO_FITS_RANGE) &&
		(taken & (FLO_FITS_RANGE | FLO_FITS_INT4 | FLO_FITS_INT8)) != 0)
	{
		if (range_fits(pseudonym, type))
			return;
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("a pseudonym of kind \"%s\" may be out of range for column \"%s\" of type %s",
						pseudonym->kind->name, column, format_type_be(type)),
				 errhint("Set min and max.")));
	}
	if (fits & taken)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("a pseudonym of kind \"%s\" does not fit column \"%s\" of type %s",
					pseudonym->kind->name, column, format_type_be(type)),
			 errhint("What fits which type is in the table of kinds in the documentation (doc/masking.md).")));
}

static void
check_length(const char *what, const char *column, Oid type, int32 typmod, int length)
{
	int			room = typmod - (int) VARHDRSZ;

	if (type == NAMEOID)
		room = NAMEDATALEN - 1;
	else if ((type != VARCHAROID && type != BPCHAROID) || typmod < 0)
		return;
	if (length <= room)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
			 errmsg("%s has up to %d characters, and column \"%s\" takes %d", what, length, column,
					room),
			 errhint("Use a kind that keeps the form of the value, as \"text\", or a hash of another length.")));
}

/* --- domains ------------------------------------------------------------- */

static void
try_domain(const char *what, const char *column, Oid domain, const char *value)
{
	Oid			function;
	Oid			param;

	getTypeInputInfo(domain, &function, &param);
	PG_TRY();
	{
		(void) OidInputFunctionCall(function, pstrdup(value), param, -1);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_CHECK_VIOLATION)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("%s is not always allowed by domain %s of column \"%s\"", what,
						format_type_be(domain), column),
				 errdetail("It refuses \"%s\".", value),
				 errhint("Use another kind, or an expression that makes what the domain allows.")));
	}
	PG_END_TRY();
}

/* Of kinds that keep the form only the values themselves tell */
static void
try_pseudonyms(const FloPseudonym *pseudonym, const char *what, const char *column, Oid domain)
{
	if (pseudonym->kind->max_length == 0 || pseudonym->kind->fits != FLO_FITS_STRING)
		return;
	for (int i = 0; i < TRIED_VALUES; i++)
	{
		char	   *value = psprintf("%d", i);
		FloPseudonymInput input = {value, strlen(value), NULL, 0};
		int			len;
		const char *made = flo_pseudonym_make(pseudonym, &input, &len);

		try_domain(what, column, domain, pnstrdup(made, len));
	}
}

/* --- both ---------------------------------------------------------------- */

void
flo_fitting_check_pseudonym(const FloShapeColumns *columns, const FloShapeColumn *column,
							const FloPseudonym *pseudonym)
{
	Place		place = find_place(columns, column->name);
	char	   *what = psprintf("a pseudonym of kind \"%s\"", pseudonym->kind->name);
	int32		typmod = place.typmod;
	Oid			type;

	if (place.number <= 0)
		return;
	/* below domains, one of which may have the length */
	type = getBaseTypeAndTypmod(place.type, &typmod);
	check_type(pseudonym, column->name, type);
	if (pseudonym->kind->max_length > 0)
		check_length(what, column->name, type, typmod, pseudonym->kind->max_length);
	if (type != place.type)
		try_pseudonyms(pseudonym, what, column->name, place.type);
}

void
flo_fitting_check_hash(const FloShapeColumns *columns, const FloShapeColumn *column,
					   const FloHash *hash)
{
	Place		place = find_place(columns, column->name);
	int32		typmod = place.typmod;
	Oid			type;

	if (place.number <= 0)
		return;
	/* below domains, one of which may have the length */
	type = getBaseTypeAndTypmod(place.type, &typmod);
	if (fits_of_type(type) != FLO_FITS_STRING)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a hash does not fit column \"%s\" of type %s", column->name,
						format_type_be(type)),
				 errhint("It is a text.")));
	check_length("a hash", column->name, type, typmod, hash->length);
	for (int i = 0; type != place.type && i < TRIED_VALUES; i++)
	{
		char	   *value = psprintf("%d", i);
		int			len;
		const char *made = flo_hash_make(hash, value, strlen(value), &len);

		try_domain("a hash", column->name, place.type, pnstrdup(made, len));
	}
}
