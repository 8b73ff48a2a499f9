/* The judge: one rule for each kind of caption. */
#include "judge.h"

const char *const toy_attribute_names[TOY_ATTRIBUTES] = {"scene", "background", "number", "colour",
                                                         "shape", "size",       "place",  "relation"};

static void mark(toy_score *score, toy_attribute attribute, bool right) {
    score->asked[attribute]++;
    score->right[attribute] += right;
}

static const toy_object *object_in(const toy_reading *found, int cell) {
    for (int i = 0; i < found->count; i++) {
        if (found->objects[i].cell == cell) return &found->objects[i];
    }
    return NULL;
}

static bool judge_placed(const toy_scene *wanted, const toy_reading *found, toy_score *score) {
    bool all = true;
    for (int i = 0; i < wanted->count; i++) {
        const toy_object *w = &wanted->objects[i];
        const toy_object *f = object_in(found, w->cell);
        bool colour = f && f->colour == w->colour, shape = f && f->shape == w->shape, size = f && f->size == w->size;
        mark(score, TOY_COLOUR, colour);
        mark(score, TOY_SHAPE, shape);
        mark(score, TOY_SIZE, size);
        mark(score, TOY_PLACE, f != NULL);
        all = all && colour && shape && size;
    }
    return all;
}

/* Which of the objects found is meant by each of the two wanted is whatever makes most right. */
static bool judge_related(const toy_scene *wanted, const toy_reading *found, toy_score *score) {
    const toy_object *a = &wanted->objects[0], *b = &wanted->objects[1];
    toy_score best = {{0}, {0}};
    int most = -1;
    for (int i = 0; i < found->count; i++) {
        for (int j = 0; j < found->count; j++) {
            if (i == j) continue;
            const toy_object *f = &found->objects[i], *g = &found->objects[j];
            toy_score s = {{0}, {0}};
            mark(&s, TOY_COLOUR, f->colour == a->colour);
            mark(&s, TOY_COLOUR, g->colour == b->colour);
            mark(&s, TOY_SHAPE, f->shape == a->shape);
            mark(&s, TOY_SHAPE, g->shape == b->shape);
            mark(&s, TOY_RELATION, toy_relation_holds(wanted->relation, f, g));
            int right = s.right[TOY_COLOUR] + s.right[TOY_SHAPE] + s.right[TOY_RELATION];
            if (right <= most) continue;
            most = right;
            best = s;
        }
    }
    if (most < 0) {
        best.asked[TOY_COLOUR] = best.asked[TOY_SHAPE] = 2;
        best.asked[TOY_RELATION] = 1;
    }
    toy_add_score(score, &best);
    return most == 5;
}

static bool judge_counted(const toy_scene *wanted, const toy_reading *found, toy_score *score) {
    const toy_object *w = &wanted->objects[0];
    bool all = true;
    for (int i = 0; i < wanted->count; i++) {
        const toy_object *f = i < found->count ? &found->objects[i] : NULL;
        bool colour = f && f->colour == w->colour, shape = f && f->shape == w->shape, size = f && f->size == w->size;
        mark(score, TOY_COLOUR, colour);
        mark(score, TOY_SHAPE, shape);
        mark(score, TOY_SIZE, size);
        all = all && colour && shape && size;
    }
    return all;
}

void toy_judge(const toy_scene *wanted, const toy_reading *found, toy_score *score) {
    *score = (toy_score){{0}, {0}};
    bool background = found->background == wanted->background;
    bool number = found->count == wanted->count;
    mark(score, TOY_BACKGROUND, background);
    mark(score, TOY_NUMBER, number);
    bool objects = wanted->kind == TOY_PLACED    ? judge_placed(wanted, found, score)
                   : wanted->kind == TOY_RELATED ? judge_related(wanted, found, score)
                                                 : judge_counted(wanted, found, score);
    mark(score, TOY_SCENE, background && number && objects && !found->stray);
}

void toy_add_score(toy_score *sum, const toy_score *score) {
    for (int i = 0; i < TOY_ATTRIBUTES; i++) {
        sum->asked[i] += score->asked[i];
        sum->right[i] += score->right[i];
    }
}
