// Types as a kernel's are told.
struct node;
typedef int (*visit)(struct node *node, const char *why);
enum state { IDLE, BUSY, DONE = 9 };
#ifdef SECOND
struct added { long first; struct node *second; };
union both { struct added a; unsigned long whole; };
#endif
struct node {
    int number;
    const char *name;
    struct node *next;
#ifdef SECOND
    union both both;
#endif
    enum state state : 4;
    unsigned seen : 1;
    visit visit;
};
struct list { struct node *first, *last; volatile unsigned long length; char text[16]; };
int count(const struct list *list, enum state state) {
    int n = 0;
    for (const struct node *node = list->first; node; node = node->next)
        n += node->state == state;
    return n;
}
#ifdef SECOND
long whole(const struct added *added, int times) { return added->first * times; }
#endif
int walk(struct list *list, visit visit, const char *why) {
    for (struct node *node = list->first; node; node = node->next)
        if (visit(node, why))
            return node->number;
    return 0;
}
struct list lists[4];
enum state now;
