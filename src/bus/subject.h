/*
 * subject.h
 *		Subjects of NATS, with "*" for one token and ">" for all that follow.
 */
#ifndef FLO_SUBJECT_H
#define FLO_SUBJECT_H

/* What is wrong with it, as the end of a sentence; NULL: nothing */
extern const char *flo_subject_problem(const char *subject);

/* Does "wide" have every subject that "narrow" has? */
extern bool flo_subject_covers(const char *wide, const char *narrow);

/* Is there a subject that both have? */
extern bool flo_subject_overlaps(const char *one, const char *other);

#endif
