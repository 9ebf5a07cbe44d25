"""Makes objects of the module and of classes derived from them in odd ways, and writes what came of it to $DIR/out.txt."""
import collectd, os, sys
out=open(os.environ['DIR']+'/out.txt','w')
def p(*a):
    out.write(' '.join(str(x) for x in a)+'\n'); out.flush()
def t(label, f):
    try: r=f(); p('OK ',label,'->',ascii(r))
    except BaseException as e: p('EXC',label,'->',type(e).__name__+':',ascii(str(e)))
V=collectd.Values; N=collectd.Notification; C=collectd.Config; PD=V.__mro__[1]
import decimal, fractions
v=V(type='gauge',host='h')
t('V pos None',lambda:V(None))
t('V values None',lambda:V(values=None))
t('V dup',lambda:V('gauge',type='gauge'))
t('V kw int',lambda:V(**{'type':'gauge','x y':1}))
t('V kw too many',lambda:V(type='gauge',values=[1],plugin_instance='pi',type_instance='ti',plugin='p',host='h',time=3,interval=4,meta={},a=1,b=2))
t('V long unicode kw',lambda:V(plugin_instance='ü'*64+'x').plugin_instance)
t('V plugin slash',lambda:V(plugin='a/b').plugin)
t('type long',lambda:V(type='t'*300))
t('set type long',lambda:setattr(v,'type','t'*300))
t('set type bytes',lambda:(setattr(v,'type',b'gauge'),v.type))
t('type nul',lambda:setattr(v,'type','gauge\0x') or v.type)
def sev(x):
    n=N(); n.severity=x; return n.severity
t('sev -2**63-1',lambda:sev(-2**63-1))
t('sev bool',lambda:sev(True))
t('N sev kw big',lambda:N(severity=2**31))
t('N sev kw str',lambda:N(severity='1'))
t('N sev None',lambda:N(severity=None))
t('time huge',lambda:V(time=1e300).time)
t('time int huge',lambda:V(time=10**400))
t('set time int huge',lambda:setattr(v,'time',10**400))
t('time frac',lambda:V(time=fractions.Fraction(1,3)).time)
t('time complex',lambda:V(time=1j))
t('time bytes',lambda:V(time=b'1'))
t('interval nan',lambda:V(interval=float('nan')).interval)
t('repr nan',lambda:V(interval=float('nan'),time=float('nan')))
t('repr neg zero',lambda:V(interval=-0.0))
t('repr small',lambda:V(time=1e-300))
t('repr bytes',lambda:V(plugin=b'\xff\xfe',type_instance='\u20ac'))
t('repr backslash',lambda:V(plugin='a\\b\n"\''))
class S(V):
    pass
t('sub repr',lambda:S(type='gauge'))
class S2(V):
    def __init__(self,a,b): V.__init__(self,type=a,plugin=b)
t('sub2',lambda:S2('gauge','p'))
class S3(V):
    def __new__(cls,*a): 
        return super().__new__(cls)
    def __init__(self,*a): super().__init__(); self.foo=a
t('sub3',lambda:(S3(1,2),S3(1).foo))
class S4(V):
    def dispatch(self,*a,**k):
        p('in dispatch'); return V.dispatch(self,*a,**k)
t('sub4',lambda:S4(type='gauge',host='h',plugin='s4').dispatch(values=[1]))
class S5(V):
    host=5
t('sub5',lambda:(S5(type='gauge'),S5(host='x').host))
class S6(N):
    pass
t('sub6',lambda:S6(type='gauge',message='x'))
class S7(V):
    @property
    def values(self): return [7]
t('sub7',lambda:S7(type='gauge',host='h',plugin='s7').values)
def mult2():
    class M(V,object):
        x=1
    return M(type='gauge').x
t('multi2',mult2)
t('class sub name',lambda:type('Äx',(V,),{})(type='gauge'))
t('V.__new__',lambda:V.__new__(V))
t('V.__new__ args',lambda:V.__new__(V,1,2,3,foo=5))
t('PD new',lambda:PD.__new__(PD))
t('PD sub is',lambda:(issubclass(V,PD),issubclass(N,PD),PD.__name__,PD.__module__,PD.__qualname__))
t('Signed big',lambda:collectd.Signed(2**70))
t('Signed f',lambda:collectd.Signed(3.9))
t('Signed base',lambda:collectd.Signed('ff',16))
t('Signed repr',lambda:(repr(collectd.Signed(5)),str(collectd.Signed(5)),'%d'%collectd.Signed(5)))
t('Signed eq',lambda:(collectd.Signed(5)==5,hash(collectd.Signed(5))==hash(5), collectd.Signed(5)==collectd.Unsigned(5)))
t('C values',lambda:C('k',values='abc').values)
t('C children',lambda:C('k',children=5).children)
t('C parent 5',lambda:C('k',5))
t('C key long',lambda:len(C('k'*1000).key))
t('C key uni',lambda:C('ü'))
t('C key bytes ff',lambda:C(b'\xff'))
t('C nul',lambda:C('a\0b').key)
t('C set key',lambda:(lambda c:(setattr(c,'key','x'),c))(C('k')))
t('C set key int',lambda:(lambda c:(setattr(c,'key',5),c))(C('k')))
t('C sub',lambda:type('D',(C,),{})('k'))
t('C sub attr',lambda:(lambda c:(setattr(c,'z',1),c.z))(type('D',(C,),{})('k')))
t('C kwdup',lambda:C('a',key='b'))
t('C reinit',lambda:(lambda c:(c.__init__('z'),c.key,c.values))(C('k',None,(1,))))
t('C foo',lambda:C('k').foo)
t('C new',lambda:C.__new__(C))
t('C new attrs',lambda:(C.__new__(C).values,C.__new__(C).children,C.__new__(C).parent))
t('C str',lambda:str(C('k')))
t('repr rec',lambda:(lambda w:(w.values.append(w),repr(w))[1][:200])(V(type='gauge')))
t('repr values str',lambda:repr(V(values='abc')))
t('repr values none',lambda:repr(V(values=None)))
t('repr meta str',lambda:repr(V(meta='x')))
t('repr meta false',lambda:repr(V(meta=False)))
t('repr N msg',lambda:repr(N(message='a"\n')))
t('repr N sev neg',lambda:repr(N(severity=-1)))
t('consts',lambda:[type(getattr(collectd,x)).__name__ for x in ('LOG_ERROR','NOTIF_OKAY','DS_TYPE_GAUGE')])
t('collectd.warn',lambda:collectd.warn)
t('collectd.LOG_ERR',lambda:collectd.LOG_ERR)
def cfg(c): p('cfg',c,c.values)
collectd.register_config(cfg)

class K:
    log=collectd.info
    reg=collectd.register_init
    ds=collectd.get_dataset
    fl=collectd.flush
t('K.log',lambda:K().log('via class'))
t('K.ds',lambda:K().ds('gauge'))
t('K.fl',lambda:K().fl())
t('K.reg',lambda:K().reg(lambda:p('init via class'),name='vc'))
class Sets(V):
    @property
    def host(self): return 'own'
    @host.setter
    def host(self, value): p('set host', value)
t('Sets',lambda:setattr(Sets(type='gauge'),'host',None))
class H(V):
    plugin='hidden'; values=[5]
    def __init__(self): pass
s=H()
t('S',lambda:(repr(s),s.plugin,s.host,s.meta))
t('S disp',lambda:s.dispatch(type='gauge',values=[2],host='h'))
t('S disp2',lambda:s.dispatch(type='gauge',host='h'))
class H2(V):
    type_instance='hid'
    @property
    def plugin(self): return 'prop'
s2=H2(type='gauge',host='h',values=[3])
t('S2',lambda:(repr(s2),s2.plugin))
t('S2 d',lambda:s2.dispatch())
t('S2 kw',lambda:H2(type='gauge',host='h',plugin='realp',type_instance='realti'))
t('S2 kw d',lambda:H2(type='gauge',host='h',plugin='realp',type_instance='realti',values=[4]).dispatch())
class H3(N):
    severity=4
    message='cls'
t('S3',lambda:H3(type='gauge',host='h').dispatch())
t('S3 r',lambda:(H3(type='gauge',host='h',message='m'),H3().severity))
import functools
t('partial',lambda:functools.partial(collectd.info,'part')())
t('map',lambda:list(map(collectd.info,['m1','m2'])))
p('done')
