/*
 * choice.h
 *		Which tables a group's choice covers.
 *
 * A table or schema that was chosen, or left out, is that object and not its
 * name: it may be renamed or moved, and another may take its name.  Once it is
 * dropped the entry stands for its name, so that what is made anew in its place
 * is treated alike.  What a table that was left out has been called leaves out
 * others, too, as long as they are not replicated already: when in doubt a
 * table does not leave the source.
 *
 * All of it looks at the catalogs as they are seen: in logical decoding, as they
 * were.
 */
#ifndef FLO_CHOICE_H
#define FLO_CHOICE_H

#include "conf/store.h"
#include "nodes/pg_list.h"

/* A choice of tables, by OID */
typedef struct FloTableOids
{
	List	   *tables;
	List	   *schemas;
	List	   *except_tables;
	bool		all;
} FloTableOids;

/* What the entries stand for now; what is not there is left out */
extern void flo_choice_look_up(const FloTableChoice *choice, FloTableOids *oids);

/*
 * The same where only these relations matter, with all partitioned tables above them:
 * of the tables listed, no others need be found
 */
extern void flo_choice_look_up_about(const FloTableChoice *choice, const List *relations,
									 FloTableOids *oids);

/*
 * The entries that are, or are called like, one of these relations, so that a statement
 * need not look at thousands of others; perhaps more.  For entries of tables.
 */
extern List *flo_choice_about(List *entries, const List *relations);

/* Do definitions that no table needs come along? */
extern bool flo_schema_takes_all(const FloReplicatorOptions *options, const FloTableOids *covered);

/* The table or schema that has a name as an entry gives it, or InvalidOid */
extern Oid	flo_choice_called(const char *name, bool schema);

/* Of OIDs just chosen, in the current memory context */
extern FloTableChoice *flo_choice_make(const char *group, const FloTableOids *oids);
extern FloTableChoice *flo_choice_copy(const FloTableChoice *choice);
extern FloChosen *flo_choice_entry(Oid relation);

/* Is the entry the table, or called like it? */
extern bool flo_choice_is(const FloChosen *entry, Oid relation);

/* Is the table, or a partitioned table above it, left out? */
extern bool flo_choice_excepts(const FloTableChoice *choice, Oid relation);

/* Is that what a table left out is or was called? */
extern bool flo_choice_excepts_name(const FloTableChoice *choice, const char *schema,
									const char *name);

/* Is the table listed, or called as one was that is no more?  It takes that one's place, then. */
extern bool flo_choice_lists(const FloTableChoice *choice, Oid relation, const char *schema,
							 const char *name);

/* Does the schema, which may not be there yet, belong to the group? */
extern bool flo_choice_has_schema(const FloTableChoice *choice, const char *schema);

/* Does the choice cover this table?  Partitions whose root it covers count as not covered. */
extern bool flo_tables_cover(const FloTableOids *choice, Oid relation);

/* Is the table, or a partitioned table above it, left out? */
extern bool flo_tables_left_out(const FloTableOids *choice, Oid relation);

/* Every table the choice covers, in OID order */
extern List *flo_tables_covered(const FloTableOids *choice);

#endif
