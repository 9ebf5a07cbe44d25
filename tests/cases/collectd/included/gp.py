"""Writes what it is configured with, by blocks in several files, to $DIR/out.txt."""
import collectd, os, sys
out=open(os.environ['DIR']+'/out.txt','w')
def p(*a):
    out.write(' '.join(str(x) for x in a)+'\n'); out.flush()
def t(label, f):
    try: r=f(); p('OK ',label,'->',ascii(r))
    except BaseException as e: p('EXC',label,'->',type(e).__name__+':',ascii(str(e)))
V=collectd.Values
def tree(c, d=0):
    p('  '*d, ascii(c.key), ascii(c.values)) 
    for k in c.children: tree(k,d+1)
collectd.register_config(tree)
def rd():
    V(type='gauge',plugin='g',host='h').dispatch(values=[1])
collectd.register_read(rd)
p('imported')
