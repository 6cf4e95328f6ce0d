/*
 * partition.h
 *		What tells the rows of a partition from those of its root's other
 *		partitions, as a document.
 *
 * It names, from the root down, by what each level is partitioned and the
 * bounds of the partition there: enough to find a partition elsewhere that
 * holds the same rows, and to say which rows they are where there is none.
 */
#ifndef FLO_PARTITION_H
#define FLO_PARTITION_H

#include "wire/change.h"

typedef enum FloPartitionStrategy
{
	FLO_BY_LIST,
	FLO_BY_RANGE,
	FLO_BY_HASH
} FloPartitionStrategy;

/* A column or expression that a level is partitioned by */
typedef struct FloPartitionKey
{
	char	   *column;			/* NULL: an expression */
	char	   *expression;
	List	   *columns;		/* char *: those of the expression */
	char	   *type;			/* qualified; of a domain, the type below it */
	char	   *operators;		/* its operator class, qualified */
	char	   *collation;		/* what its order depends on; "": nothing */

	/*
	 * Every server places the same value alike: type, operators, functions
	 * are built in, and nothing depends on OIDs or on a locale that cannot be
	 * named.
	 */
	bool		portable;
} FloPartitionKey;

/* Values are in the text form that pg_flo's own settings give them */
typedef struct FloPartitionBound
{
	bool		is_default;
	List	   *values;			/* list: char *, sorted */
	bool		with_null;
	List	   *from;			/* range: char *: "=" and the value, "<"
								 * MINVALUE, ">" MAXVALUE */
	List	   *to;
	int64		modulus;		/* hash */
	int64		remainder;
} FloPartitionBound;

typedef struct FloPartitionLevel
{
	int			strategy;		/* FloPartitionStrategy */
	List	   *keys;			/* of FloPartitionKey * */
	List	   *bounds;			/* of FloPartitionBound *: its own; of a
								 * default, its siblings' behind it */
} FloPartitionLevel;

typedef struct FloPartition
{
	uint32		relation;		/* OID at the source */
	char	   *schema;
	char	   *name;
	char	   *hashes;			/* what hashes depend on there: byte order and
								 * encoding */
	List	   *levels;			/* of FloPartitionLevel *, the root's first */
} FloPartition;

/* In the encoding of the database at hand, and back; throws 08P01 */
extern char *flo_partition_write(const FloPartition *partition);
extern FloPartition *flo_partition_read(const char *document);

/* The relation's name for a column of the source; NULL: it is not there */
extern const char *flo_partition_column(const FloRelation *relation, const char *source);

/*
 * The first column, of those by which the partition is told apart, that "is"
 * says yes to; NULL: none
 */
extern const char *flo_partition_find_column(const FloPartition *partition,
											 bool (*is) (void *arg, const char *column), void *arg);

/* Do partitions with these bounds at equal levels hold the same rows? */
extern bool flo_partition_same_bounds(const FloPartitionLevel *a, const FloPartitionLevel *b);

/*
 * The partition's rows as an SQL condition; NULL when it cannot be said.  "key"
 * gives the SQL of a key, "hash" a condition for a level of hashes; both may
 * give NULL.  Names in it are of pg_catalog.
 */
typedef struct FloPartitionWords
{
	void	   *arg;
	char	   *(*key) (void *arg, const FloPartitionLevel *level, const FloPartitionKey *key);
	char	   *(*hash) (void *arg, const FloPartitionLevel *level);
} FloPartitionWords;

extern char *flo_partition_condition(const FloPartition *partition, const FloPartitionWords *words);

#endif
