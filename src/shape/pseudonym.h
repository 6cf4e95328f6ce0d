/*
 * pseudonym.h
 *		Values in the place of others: the same one for the same value and secret,
 *		of the same kind.
 *
 * Pure functions of value, secret and options.  They see and make UTF-8, so a
 * value has the same pseudonym in a database of any encoding.
 */
#ifndef FLO_PSEUDONYM_H
#define FLO_PSEUDONYM_H

#include "lib/stringinfo.h"
#include "shape/prf.h"

/* Can two values come out as one? */
typedef enum FloUniqueness
{
	FLO_INJECTIVE,				/* never */
	FLO_COLLISION_RESISTANT,	/* not in practice: 64 bits or more */
	FLO_LOSSY					/* often */
} FloUniqueness;

/* Types of columns that take what a kind makes, as a set */
#define FLO_FITS_STRING		0x01
#define FLO_FITS_INT4		0x02
#define FLO_FITS_INT8		0x04	/* and numeric */
#define FLO_FITS_UUID		0x08
#define FLO_FITS_INET		0x10
#define FLO_FITS_DATE		0x20	/* date, timestamp, timestamptz */
#define FLO_FITS_RANGE		0x40	/* integers that its range is within */

typedef struct FloPseudonym FloPseudonym;

typedef struct FloPseudonymInput
{
	const char *value;			/* not empty */
	int			len;
	const char *subject;		/* NULL: none */
	int			subject_len;
} FloPseudonymInput;

typedef struct FloPseudonymKind
{
	const char *name;
	FloUniqueness uniqueness;
	int			fits;
	int			max_length;		/* in characters; 0: as long as the value */
	void		(*make) (const FloPseudonym *pseudonym, const FloPseudonymInput *input,
						 StringInfo out);
} FloPseudonymKind;

/* What can be said beside kind and secret; NULL, where there is nothing */
typedef struct FloPseudonymOptions
{
	const char *min;			/* of "integer" and "bigint" */
	const char *max;
	const char *days;			/* of "date": the furthest shift */
	bool		has_subject;	/* of "date" */
} FloPseudonymOptions;

struct FloPseudonym
{
	const FloPseudonymKind *kind;
	FloPrf		prf;
	bool		ranged;			/* min and max were given */
	int64		min;
	int64		max;
	int			days;
};

/* Throws 22023 for a kind that there is not */
extern const FloPseudonymKind *flo_pseudonym_kind(const char *name);

/* Throws 22023 for options that the kind does not have, or lacks, or bad ones */
extern void flo_pseudonym_init(FloPseudonym *pseudonym, const FloPseudonymKind *kind,
							   const FloPseudonymOptions *options);
extern void flo_pseudonym_set_secret(FloPseudonym *pseudonym, const void *secret, size_t len);

/*
 * The pseudonym of a value in the database's encoding, and so it comes out, in
 * the current memory context.  Empty stays empty.  Throws 22xxx when the value
 * is not of the kind; the message does not show it.
 */
extern const char *flo_pseudonym_make(const FloPseudonym *pseudonym,
									  const FloPseudonymInput *input, int *len);

/* By how many days a subject's dates are moved, never by none; the subject is UTF-8 */
extern int	flo_pseudonym_shift(const FloPseudonym *pseudonym, const char *subject, int len);

/* The name of a class, as people read it */
extern const char *flo_uniqueness_name(FloUniqueness uniqueness);

/* --- hashes -------------------------------------------------------------- */

#define FLO_HASH_LENGTH 32
#define FLO_HASH_MAX_LENGTH 1024
#define FLO_HASH_ALPHABET "0123456789abcdef"

typedef struct FloHash
{
	FloPrf		prf;
	int			length;			/* in characters */
	int			count;			/* of the alphabet's characters */
	const char **characters;	/* each one ended by zero */
	FloUniqueness uniqueness;
} FloHash;

/*
 * The alphabet is in the database's encoding, and is kept in the current memory
 * context.  Throws 22023.
 */
extern void flo_hash_init(FloHash *hash, int length, const char *alphabet);
extern void flo_hash_set_secret(FloHash *hash, const void *secret, size_t len);
extern const char *flo_hash_make(const FloHash *hash, const char *value, int value_len, int *len);

#endif
