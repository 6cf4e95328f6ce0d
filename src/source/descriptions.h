/*
 * descriptions.h
 *		Descriptions of tables ('Y' and 'R' messages), as the plugin sends each but once.
 */
#ifndef FLO_DESCRIPTIONS_H
#define FLO_DESCRIPTIONS_H

#include "utils/palloc.h"

typedef struct FloDescription
{
	uint32		id;				/* hash key */
	uint64		age;			/* larger is newer */
	uint64		written;		/* the publisher's: when it was put into a
								 * chunk, and shown to the shaper */
	uint64		shown;
	char	   *block;			/* length-prefixed records: its types, then
								 * itself */
	int			len;
} FloDescription;

/* One set for all that is published in order, and one for each transaction in progress */
typedef struct FloDescriptions FloDescriptions;

extern FloDescriptions *flo_descriptions_create(MemoryContext parent);
extern void flo_descriptions_drop(FloDescriptions *set);

/* Keep one, in the place of the one before */
extern void flo_descriptions_keep(FloDescriptions *set, uint32 id, uint64 age,
								  const char *block, int len);

/* NULL when there is none */
extern FloDescription *flo_descriptions_find(FloDescriptions *set, uint32 id);

/* Those of another set that are newer; that one is dropped */
extern void flo_descriptions_take_over(FloDescriptions *set, FloDescriptions *other);

#endif
